"""Checkpoints from untrusted sources: nothing in them runs or is imported, and each gets its sentence.

All of them go through the three doors in one process, which says what happened.
"""

import io
import json
import os
import pickle
import string
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from charlm.nets.mlp import MLP

ARGS = {"vocab_size": 27, "block_size": 2, "n_embd": 3, "n_hidden": 5, "init": "default"}
MARK = "touch {}/marker"  # what hostile code does: in the folder of the files


def content(**changes):
    """What `charlm fit` writes, but for the changes."""
    weights = {f"net.{name}": weight for name, weight in MLP(**ARGS).state_dict().items()}
    hyperparameters = {"n_embd": 3, "n_hidden": 5, "block_size": 2, "alphabet": string.ascii_lowercase}
    return {
        "pytorch-lightning_version": "2.6.6",
        "epoch": 0,
        "global_step": 7,
        "callbacks": {},
        "optimizer_states": [],
        "lr_schedulers": [],
        "state_dict": weights,
        "hyper_parameters": hyperparameters,
        "charlm": {"format": 1, "net": "MLP", "net_args": ARGS, "alphabet": string.ascii_lowercase},
    } | changes


def hyperparameters(**more):
    return content(hyper_parameters=content()["hyper_parameters"] | more)


def saved(values, **options):
    """The bytes of torch.save."""
    torch.save(values, stream := io.BytesIO(), **options)
    return stream.getvalue()


def packed(data, *more, compression=zipfile.ZIP_STORED):
    """A pickle, written by hand, in the archive of torch.save; `more`: names and contents of other parts."""
    with zipfile.ZipFile(stream := io.BytesIO(), "w", compression) as archive:
        for name, part in [("a/data.pkl", data), ("a/version", "3\n"), ("a/byteorder", "little"), *more]:
            archive.writestr(name, part)
    return stream.getvalue()


def call(name, *arguments):
    """A pickle of `name(*arguments)` of protocol 2; the module and the name by a space."""
    body = b"".join(pickle.dumps(argument, 2)[2:-1] for argument in arguments)
    return b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n(" + body + b"tR."


class Runs:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.system, (MARK.format(self.folder),)


def foreign(folder):
    """Files that every door refuses, by their bytes."""
    module = "evil_module"
    with zipfile.ZipFile(io.BytesIO(saved(content()))) as archive:
        good = archive.read(archive.namelist()[0])
    return {
        "an object that runs": saved(content(extra=Runs(folder))),
        "an object in the old format": saved(content(extra=Runs(folder)), _use_new_zipfile_serialization=False),
        "a bare pickle": pickle.dumps(content(extra=Runs(folder))),
        "eval": packed(call("builtins eval", f"__import__('os').system({MARK.format(folder)!r})")),
        "an import": packed(call("importlib import_module", module)),
        "a class of a module": packed(b"\x80\x02c" + module.encode() + b"\nThing\n)\x81."),
        "operation STACK_GLOBAL": packed(pickle.dumps(Runs(folder), 4)),
        "a codec by its name": packed(call("_codecs encode", "x", module)),
        "half a pickle": packed(good[: len(good) // 2]),
        "a zip bomb": packed(call("collections OrderedDict"), ("a/data/0", bytes(10**8)), compression=8),
        "a whole net": saved(MLP(**ARGS)),
        "a path": saved(content(extra=Path("a"))),
    }


def names_of_classes():
    """Checkpoints that ask for an object of a class, where Lightning would make one; every door passes it by."""
    path = {"class_path": "evil_module.Thing", "init_args": {"x": 1}}
    contents = {
        "_instantiator": hyperparameters(_instantiator="evil_module.make"),
        "_class_path": hyperparameters(_class_path="evil_module.Thing"),
        "class_path in each argument": content(hyper_parameters=dict.fromkeys(("n_embd", "alphabet", "lr"), path)),
        "class_path of the data": content(datamodule_hyper_parameters={"path": path, "_class_path": "evil_module.X"}),
    }
    return {name: saved(values) for name, values in contents.items()}


RUN = """
import codecs, json, os, sys, warnings
from pathlib import Path
import lightning.pytorch as pl, torch
from charlm.callbacks.atomic_io import AtomicCheckpointIO
from charlm.runs.load_checkpoint import load_checkpoint
from charlm.models.base import LitCharLM
from charlm.models.windows import LitMLP

warnings.simplefilter("ignore")
torch.set_num_threads(1)
for name in ("cp437", "latin_1"):  # Python's own, which it imports when it first needs them
    codecs.lookup(name)
data = [(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, dtype=torch.long))]

trainer = pl.Trainer(
    max_steps=0, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
    enable_model_summary=False, plugins=[AtomicCheckpointIO()], limit_val_batches=0,
)

def fit(path):
    trainer.fit(LitMLP(n_embd=3, n_hidden=5, block_size=2), data, ckpt_path=path)

doors = {"load_checkpoint": load_checkpoint, "load_from_checkpoint": LitCharLM.load_from_checkpoint, "fit": fit}
for door in doors.values():
    door("good.ckpt")
    try:
        door("warm.ckpt")
    except ValueError:
        pass
answers = []
for file in sorted(Path().glob("case*.ckpt")):
    for name, door in doors.items():
        before = set(sys.modules)
        try:
            door(str(file))
            error = None
        except Exception as problem:
            error = (isinstance(problem, (OSError, ValueError)), str(problem))
        answers.append([file.stem, name, error, sorted(set(sys.modules) - before), os.path.exists("marker")])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """By door and case: what the door said, which modules it imported, and whether something ran."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "evil_module.py").write_text(f"import os\nos.system({MARK.format(folder)!r})\n\nclass Thing:\n    pass\n")
    (folder / "good.ckpt").write_bytes(saved(content()))
    (folder / "warm.ckpt").write_bytes(saved(content(extra=Path("a"))))
    cases = foreign(folder) | names_of_classes()
    for number, data in enumerate(cases.values()):
        (folder / f"case{number:03}.ckpt").write_bytes(data)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    names = list(cases)
    answers = {}
    for stem, door, error, modules, ran in json.loads(done.stdout.splitlines()[-1]):
        answers.setdefault(door, {})[names[int(stem[4:])]] = error, modules, ran
    return answers


@pytest.mark.parametrize("door", ["load_checkpoint", "load_from_checkpoint", "fit"])
def test_nothing_runs_and_what_is_foreign_is_refused_in_a_sentence(door, answers):
    found, refused = answers[door], set(foreign("/nowhere"))
    assert {case for case, (_, modules, ran) in found.items() if modules or ran} == set()
    assert {case for case in refused if not is_sentence(found[case][0])} == set()
    assert {case for case in found if found[case][0] and not is_sentence(found[case][0])} == set()


def is_sentence(error):
    """Whether it is one line that names the file, and advises to switch a protection off for one's own files only."""
    documented, text = error or (False, "")
    text = text.partition("; for files of your own, allow")[0]
    advice = ("weights_only", "safe_globals", "allowlist", "Error")
    return (
        documented
        and ".ckpt " in text
        and text.isprintable()
        and len(text) < 700
        and not any(w in text for w in advice)
    )
