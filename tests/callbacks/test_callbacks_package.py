import doctest
import inspect
import pickle
import subprocess
import sys

import pytest
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.demos.boring_classes import BoringModel

import charlm.callbacks
from charlm.callbacks import LRFinder, lr_find


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", charlm.callbacks.__all__)
def test_the_example_of_every_public_name_runs_as_a_stranger_types_it(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest(getattr(charlm.callbacks, name).__doc__, {}, name, None, None)
    assert any(name in line.source for line in example.examples)
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    assert doctest.DocTestRunner(optionflags=flags).run(example).failed == 0


@pytest.mark.parametrize("name", charlm.callbacks.__all__)
def test_all_arguments_after_the_first_are_keyword_only(name):
    """`lr_find` takes a model and data like `Trainer.fit`, the loader a data set and a batch size like torch's."""
    positional = {"lr_find": 3, "ResumableLoader": 2}.get(name, 1)
    parameters = list(inspect.signature(getattr(charlm.callbacks, name)).parameters.values())
    named = parameters[positional : len(parameters) - (name == "ResumableLoader")]  # whose rest is DataLoader's
    assert {each.kind for each in named} <= {inspect.Parameter.KEYWORD_ONLY}


def test_lr_find_takes_the_arguments_of_the_callback():
    function, callback = (inspect.signature(kind).parameters for kind in (lr_find, LRFinder))
    shared = callback.keys() - {"apply", "at_epochs"}
    assert function.keys() == {"trainer", "model", "data"} | shared
    assert {name for name in shared if function[name] != callback[name]} == {"on_failure", "min_lr"}, "another default"


REFUSED = {  # what is wrong with an argument, and what is allowed
    "StepDecay([0, 5])": r"whole numbers of steps, 1 or more, not \[0, 5\]; .*use unit='fraction'",
    "StepDecay([2.5], unit='epoch')": r"whole numbers of epochs, 1 or more, not \[2.5\]",
    "StepDecay([0.5, 1], unit='fraction')": r"between 0 and 1, not \[0.5, 1\]; to count steps or epochs",
    "StepDecay([10, 5])": r"rise strictly, unlike \[10, 5\]; sort them and remove duplicates",
    "StepDecay([1], gamma=1.5)": r"gamma is a factor in \(0, 1\], not 1.5",
    "StepDecay([1], unit='batch')": "unit is 'step', 'epoch' or 'fraction', not 'batch'",
    "StepDecay([1], over='base')": "over is 'rate' or 'schedule', not 'base'",
    "LRFinder(1.0, max_lr=0.1)": "min_lr is 1.0 and max_lr is 0.1; give 0 < min_lr < max_lr",
    "LRFinder(num_steps=3)": "num_steps is 3; give a whole number, 20 or more",
    "LRFinder(repeats=0)": "repeats is 0; give a whole number, 1 or more",
    "LRFinder(rule='best')": "rule is 'best'; give one of .*half_depth",
    "LRFinder(stop_factor=float('nan'))": "stop_factor is nan; give a number above 0",
    "LRFinder(trial_steps=29)": "trial_steps is 29; give 0 for no trials, or a whole number, 30 or more",
    "LRFinder(horizon=-1)": "horizon is -1; give a number of steps, 0 for no factor, or None",
    "LRFinder(at_epochs=[0, -1])": r"at_epochs is \[0, -1\]; give a list of epochs, each 0 or more",
    "EmbeddingPCA(every_n_steps=0)": "every_n_steps must be at least 1, or None for never, not 0",
    "EmbeddingPCA(max_rows=1)": "max_rows must be at least 2, not 1",
    "EmbeddingPCA(frames=1)": "frames must be at least 2, or 0 for no film, not 1",
    "EmbeddingPCA(projector_rows=-1)": "projector_rows must be at least 0, not -1",
    "Dashboard(charts={'mine': ['(loss']})": r"'mine' .*'\(loss', which is not a regular",
    "Dashboard(charts={'mine': []})": "'mine' .*has no tags",
    "NameSamples(n=0)": "n is 0; show at least 1 name",
    "NameSamples(scored=19)": "scored is 19, less than the 20 names shown",
    "StepsPerExecution(0)": "steps is 0; give a whole number of at least 1",
    "StepsPerExecution(2.5)": "steps is 2.5; give a whole number of at least 1",
    "StepProgressBar(refresh_rate=0)": "refresh_rate is 0; give at least 1",
}


@pytest.mark.parametrize("call", REFUSED)
def test_a_bad_argument_is_refused_with_what_is_allowed(call):
    with pytest.raises(ValueError, match=REFUSED[call]):
        eval(
            call, vars(charlm.callbacks) | {name: getattr(charlm.callbacks, name) for name in charlm.callbacks.__all__}
        )


class SavesCallbacks(Callback):
    """As neuralforecast, where the callbacks are hyperparameters, which each checkpoint holds."""

    def on_validation_end(self, trainer, pl_module):
        self.copies = pickle.loads(pickle.dumps(trainer.callbacks))


@pytest.mark.filterwarnings("ignore:(NameSamples|StepDecay|LRFinder|The number of)")
def test_callbacks_can_be_pickled_in_a_training(trainer, tmp_path):
    first = {"EmbeddingPCA": "layer", "StepDecay": [9], "LRFinder": 1e-5, "RunCheckpoint": tmp_path}
    kinds = [getattr(charlm.callbacks, name) for name in charlm.callbacks.__all__]
    made = [kind(*filter(None, [first.get(kind.__name__)])) for kind in kinds if hasattr(kind, "on_train_start")]
    saves = SavesCallbacks()
    options = {"limit_val_batches": 1, "enable_checkpointing": True, "enable_progress_bar": True}
    trainer(saves, *made, max_steps=2, **options).fit(BoringModel())
    assert len(saves.copies) == len(made) + 1


def test_an_import_needs_lightning_alone_and_packages_for_pictures_are_loaded_when_one_is_drawn(tmp_path):
    """TensorBoard, and matplotlib and Pillow, which torchmetrics has loaded before if they are installed."""
    code = """
import sys
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
pictures = {"matplotlib", "PIL", "tensorboard"}
for name in [name for name in sys.modules if name.split(".")[0] in pictures]:
    del sys.modules[name]
before = set(sys.modules)
from charlm.callbacks import *
others = {name.split(".")[0] for name in set(sys.modules) - before} - {"charlm"}
made = [Dashboard(), ExactResume(), FiniteLoss(), GracefulStop(), NameSamples(), RunCheckpoint("."), StepDecay([9])]
trainer = Trainer(max_steps=2, limit_val_batches=1, logger=False, callbacks=[*made, StepProgressBar()])
trainer.fit(BoringModel())
print(others | (pictures & {name.split(".")[0] for name in sys.modules}))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["set()"], done.stderr


def test_an_unknown_name_gets_a_list_of_those_that_exist():
    with pytest.raises(AttributeError, match=r"no attribute 'StepDekay'; its public names are .*StepDecay"):
        _ = charlm.callbacks.StepDekay
