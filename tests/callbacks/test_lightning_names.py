"""Callbacks for Lightning by its other name, `pytorch_lightning`, which is installed wherever `lightning` is."""

import json
import subprocess
import sys

import lightning.pytorch as pl
import pytest

import charlm.callbacks

FIRST = {"EmbeddingPCA": "layer", "StepDecay": [40], "StepsPerExecution": 5}  # arguments that the test's model needs
OTHER_NAME = """
import json, sys, warnings
warnings.simplefilter("ignore")
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from pytorch_lightning.demos.boring_classes import BoringModel
from charlm import callbacks

def train(made, **options):
    pl.seed_everything(0, verbose=False)
    trainer = pl.Trainer(
        max_steps=30, logger=False, accelerator="cpu", enable_model_summary=False, callbacks=made, **options
    )
    trainer.fit(model := BoringModel())
    return trainer, model.layer.weight.tolist()

kinds = [getattr(callbacks, name) for name in callbacks.__all__]
first = FIRST | {"StepDecay": []}  # no milestones: it only logs
made = [k(*([first[k.__name__]] if k.__name__ in first else [])) for k in kinds if hasattr(k, "on_train_start")]
for each in made:
    if type(each) is callbacks.LRFinder:
        each.num_steps, each.trial_steps, each.apply = 20, 0, False
    if type(each) is callbacks.EmbeddingPCA:
        each.frames = 0  # saves seconds
trainer, weights = train(made, plugins=[callbacks.AtomicCheckpointIO()])
without = train([], enable_checkpointing=False, enable_progress_bar=False)[1]
special = [type(each).__name__ for each in trainer.callbacks if isinstance(each, Checkpoint | ProgressBar)]
alone = pl.Trainer(max_steps=30, logger=False, accelerator="cpu")
found = callbacks.lr_find(alone, BoringModel(), num_steps=20, trial_steps=0)
print(json.dumps([weights == without, sorted(special), len(found.lrs), "lightning.pytorch" in sys.modules]))
"""


def test_all_callbacks_work_under_the_other_name_of_lightning(tmp_path):
    code = OTHER_NAME.replace("FIRST", repr(FIRST))
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [True, ["RunCheckpoint", "StepProgressBar"], 20, False]
    assert {"embedding_pca.png", "lr_finder.png"} <= {file.name for file in tmp_path.rglob("*")}


CALLBACKS = [name for name in charlm.callbacks.__all__ if hasattr(getattr(charlm.callbacks, name), "on_train_start")]


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_trainer_of_the_other_package_is_refused(name):
    class OtherTrainer:
        """As pytorch_lightning's, which has no base in common with lightning's."""

    made = getattr(charlm.callbacks, name)(*([FIRST[name]] if name in FIRST else []))
    with pytest.raises(TypeError, match=f"^{name} is a callback for lightning.pytorch.*`import pytorch_l"):
        made.setup(OtherTrainer(), pl.LightningModule(), "fit")
