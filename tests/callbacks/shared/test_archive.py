"""Checkpoints from untrusted sources: nothing in them runs or is imported, and each gets its sentence.

All of them go through the three doors in one process, which says what happened.
"""

import io
import json
import os
import pickle
import string
import struct
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

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


def weights(value):
    return content(state_dict=content()["state_dict"] | {"net.hidden.weight": value})


def hyperparameters(**more):
    return content(hyper_parameters=content()["hyper_parameters"] | more)


def saved(values, **options):
    """The bytes of torch.save."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(values, stream, **options)
    return stream.getvalue()


def packed(data, *more, compression=zipfile.ZIP_STORED):
    """A pickle, written by hand, in the archive of torch.save; `more`: names and contents of other parts."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
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


class Own(torch.Tensor):
    pass


def overlapping():
    """Two names for the same bytes."""
    whole = bytearray(saved(content()))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts = [part for part in archive.infolist() if "/data/" in part.filename]
    place = whole.rindex(parts[1].filename.encode()) - 46
    whole[place + 42 : place + 46] = struct.pack("<I", parts[0].header_offset)
    return bytes(whole)


def script_module():
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), stream)
    return stream.getvalue()


def oversized(count):
    """A storage that says it has `count` numbers, and is a part of 4 bytes."""
    named = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    number = pickle.dumps(count, 2)[2:-1]
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + named + number + b"tQK\x00" + number + b"\x85K\x01\x85"
    return packed(b"\x80\x02" + tensor + b"\x89ccollections\nOrderedDict\n)RtR.", ("a/data/0", bytes(4)))


def foreign(folder):
    """Files that every door refuses, by their bytes."""
    order = MARK.format(folder)
    module = "evil_module"
    with zipfile.ZipFile(io.BytesIO(saved(content()))) as archive:
        good = archive.read(archive.namelist()[0])
    return {
        "an object that runs": saved(content(extra=Runs(folder))),
        "an object in the old format": saved(content(extra=Runs(folder)), _use_new_zipfile_serialization=False),
        "an old format without": saved(content(), _use_new_zipfile_serialization=False),
        "a bare pickle": pickle.dumps(content(extra=Runs(folder))),
        "os.system": packed(call("os system", order)),
        "eval": packed(call("builtins eval", f"__import__('os').system({order!r})")),
        "an import": packed(call("importlib import_module", module)),
        "a class of a module": packed(b"\x80\x02c" + module.encode() + b"\nThing\n)\x81."),
        "torch's own loader": packed(call("torch load", f"{folder}/inner.ckpt")),
        "operation INST": packed(b"(X\x04\x00\x00\x00trueios\nsystem\n."),
        "operation STACK_GLOBAL": packed(pickle.dumps(Runs(folder), 4)),
        "operation EXT1": packed(b"\x80\x02\x82\x01."),
        "a state for a class": packed(b"\x80\x02ctorch\nSize\n}X\x01\x00\x00\x00aK\x01sb."),
        "another persistent id": packed(b"\x80\x02X\x06\x00\x00\x00moduleX\x01\x00\x00\x00x\x86Q."),
        "enormous storage": packed(call("torch.storage UntypedStorage", 2**40)),
        "a codec by its name": packed(call("_codecs encode", "x", module)),
        "more numbers than bytes": oversized(10**9),
        "numbers beyond numbers": oversized(10**30),
        "deep lists": packed(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
        "a text longer than the file": packed(b"\x80\x02X\xff\xff\xff\x7fx."),
        "an empty pickle": packed(b""),
        "half a pickle": packed(good[: len(good) // 2]),
        "a zip bomb": packed(call("collections OrderedDict"), ("a/data/0", bytes(10**8)), compression=8),
        "compiled code": script_module(),
        "a tensor's subclass": saved(weights(torch.ones(5, 6).as_subclass(Own))),
        "a whole net": saved(MLP(**ARGS)),
        "a path": saved(content(extra=Path("a"))),
    }


def odd(folder):
    """Archives that torch.save does not write, by their bytes; a door may read what is in them."""
    with zipfile.ZipFile(io.BytesIO(saved(content()))) as archive:
        good = archive.read(archive.namelist()[0])
    runs = call("os system", MARK.format(folder))
    return {
        "two pickles of one name": packed(good, ("a/data.pkl", runs)),
        "two folders": packed(good, ("b/data.pkl", runs)),
        "a path that leads out": packed(good, (f"../../../..{folder}/marker", "x")),
        "overlapping parts": overlapping(),
        "something before it": b"#!/bin/sh\n" + saved(content()),
        "something after it": saved(content()) + bytes(30),
        "a comment": saved(content())[:-2] + b"\x04\x00evil",
        "a part of another folder": saved(content()).replace(b"archive/version", b"brchive/version"),
        "the end of a name in it": saved(content()).replace(b"/version", b"/versio\0"),
    }


def names_of_classes():
    """Checkpoints that ask for an object of a class, where Lightning would make one; every door passes it by."""
    path = {"class_path": "evil_module.Thing", "init_args": {"x": 1}}
    contents = {
        "_instantiator": hyperparameters(_instantiator="evil_module.make"),
        "_class_path": hyperparameters(_class_path="evil_module.Thing"),
        "class_path": hyperparameters(**path),
        "class_path in a value": hyperparameters(extra=path, optimizer=path),
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
    (folder / "inner.ckpt").write_bytes(saved(Runs(folder)))
    cases = foreign(folder) | odd(folder) | names_of_classes()
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
