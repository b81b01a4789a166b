"""Checkpoints of strangers: nothing in them runs, nothing that they name is imported, and each gets its sentence.

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
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from charlm.nets.mlp import MLP

ARGS = {"vocab_size": 27, "block_size": 2, "n_embd": 3, "n_hidden": 5, "init": "default"}
MARK = "touch {}/marker"  # what hostile code does: in the folder of the files
DOORS = ("load_checkpoint", "load_from_checkpoint", "fit")


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


def entry(**changes):
    return content(charlm=content()["charlm"] | changes)


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


def doubled(times):
    """A tuple of itself, of itself, ...: short to write, without end to read."""
    value = ()
    for _ in range(times):
        value = (value, value)
    return value


def circle():
    value = []
    value.append(value)
    return value


def overlapping():
    """Two names for the same bytes."""
    whole = bytearray(saved(content()))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        parts = [part for part in archive.infolist() if "/data/" in part.filename]
    place = whole.rindex(parts[1].filename.encode()) - 46
    whole[place + 42 : place + 46] = struct.pack("<I", parts[0].header_offset)
    return bytes(whole)


def tar():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        part = tarfile.TarInfo("pickle")
        archive.addfile(part, io.BytesIO())
    return stream.getvalue()


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
    """Files that no door lets in, by their bytes."""
    order = MARK.format(folder)
    module = "evil_module"
    with zipfile.ZipFile(io.BytesIO(saved(content()))) as archive:
        good = archive.read(archive.namelist()[0])
    return {
        "an object that runs": saved(content(extra=Runs(folder))),
        "one in the old format": saved(content(extra=Runs(folder)), _use_new_zipfile_serialization=False),
        "an old format without": saved(content(), _use_new_zipfile_serialization=False),
        "a bare pickle": pickle.dumps(content(extra=Runs(folder))),
        "a bare pickle, protocol 2": pickle.dumps(Runs(folder), 2),
        "a text pickle": pickle.dumps(Runs(folder), 0),
        "os.system": packed(call("os system", order)),
        "posix.system": packed(call("posix system", order)),
        "eval": packed(call("builtins eval", f"__import__('os').system({order!r})")),
        "eval by its old module": packed(call("__builtin__ eval", f"__import__('os').system({order!r})")),
        "exec by another old module": packed(call("exceptions exec", f"import os; os.system({order!r})")),
        "an import": packed(call("importlib import_module", module)),
        "__import__": packed(call("builtins __import__", module)),
        "a class of a module": packed(b"\x80\x02c" + module.encode() + b"\nThing\n)\x81."),
        "a process": packed(call("subprocess check_output", ["sh", "-c", order])),
        "a script": packed(call("runpy run_path", f"{folder}/{module}.py")),
        "getattr": packed(call("builtins getattr", "os", "system")),
        "torch's own loader": packed(call("torch load", f"{folder}/inner.ckpt")),
        "a hub": packed(call("torch.hub load", "x/y", "z")),
        "operation INST": packed(b"(X\x04\x00\x00\x00trueios\nsystem\n."),
        "operation OBJ": packed(b"(cos\nsystem\nX\x04\x00\x00\x00trueo."),
        "operation STACK_GLOBAL": packed(pickle.dumps(Runs(folder), 4)),
        "operation EXT1": packed(b"\x80\x02\x82\x01."),
        "a state for a class": packed(b"\x80\x02ctorch\nSize\n}X\x01\x00\x00\x00aK\x01sb."),
        "another persistent id": packed(b"\x80\x02X\x06\x00\x00\x00moduleX\x01\x00\x00\x00x\x86Q."),
        "an enormous bytearray": packed(call("__builtin__ bytearray", 2**31 - 1)),
        "one by another name": packed(call("exceptions bytearray", 2**31 - 1)),
        "one in a tensor's place": packed(
            b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(c__builtin__\nbytearray\nctorch\nTensor\n"
            b"J\xff\xff\xff\x7f\x85}tR."
        ),
        "enormous storage": packed(call("torch.storage UntypedStorage", 2**40)),
        "enormous tensor": packed(call("torch FloatTensor", 2**40)),
        "a codec by its name": packed(call("_codecs encode", "x", module)),
        "a text encoded again": packed(call("_codecs encode", "x" * 1000, "hex")),
        "more numbers than bytes": oversized(10**9),
        "numbers below 0": oversized(-1),
        "numbers beyond numbers": oversized(10**30),
        "an endless key": saved(content(extra={doubled(20): 1})).replace(b"extra", b"extra"),
        "a longer endless key": packed(b"\x80\x02}" + b")" + b"q\x00h\x00\x86" * 60 + b"K\x01s."),
        "an endless value": saved(content(extra=doubled(40))),
        "a list of itself": saved(content(extra=circle())),
        "deep lists": packed(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."),
        "deep tuples": packed(b"\x80\x02)" + b"\x85" * 100_000 + b"."),
        "a text longer than the file": packed(b"\x80\x02X\xff\xff\xff\x7fx."),
        "a number longer than the file": packed(b"\x80\x02\x8b\xff\xff\xff\x7fx."),
        "an empty pickle": packed(b""),
        "half a pickle": packed(good[: len(good) // 2]),
        "no pickle": packed(b"").replace(b"data.pkl", b"data.pkk"),
        "a zip bomb": packed(call("collections OrderedDict"), ("a/data/0", bytes(10**8)), compression=8),
        "two pickles of one name": packed(good, ("a/data.pkl", call("os system", order))),
        "two folders": packed(good, ("b/data.pkl", call("os system", order))),
        "a path that leads out": packed(good, (f"../../../..{folder}/marker", "x")),
        "an absolute path": packed(good, (f"{folder}/marker", "x")),
        "overlapping parts": overlapping(),
        "something before it": b"#!/bin/sh\n" + saved(content()),
        "something after it": saved(content()) + bytes(30),
        "a comment": saved(content())[:-2] + b"\x04\x00evil",
        "compiled code": script_module(),
        "a tar": tar(),
        "a web page": b"<!DOCTYPE html><title>404</title>",
        "a text": b"epoch 1, loss 2.3\n",
        "nothing": b"",
        "zeros": bytes(1000),
        "half a file": saved(content())[:1000],
        "a tensor's subclass": saved(weights(torch.ones(5, 6).as_subclass(Own))),
        "a whole net": saved(MLP(**ARGS)),
        "a tensor": saved(torch.ones(3)),
        "a path": saved(content(extra=Path("a"))),
    }


def odd(folder):
    """Checkpoints of tensors and plain values that are not as they should be: charlm's doors name it or pass it by."""
    path = {"class_path": "evil_module.Thing", "init_args": {"x": 1}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of formats that are no longer meant to be used
        quantized = torch.quantize_per_tensor(torch.ones(5, 6), 0.1, 0, torch.qint8)
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    passed_by = {
        "_instantiator": hyperparameters(_instantiator="evil_module.make"),
        "_instantiator of a module": content(
            hyper_parameters={"_instantiator": "lightning.pytorch.cli.instantiate_module"}
        ),
        "_class_path": hyperparameters(_class_path="evil_module.Thing"),
        "class_path": hyperparameters(class_path="evil_module.Thing", init_args={}),
        "class_path in a value": hyperparameters(extra=path),
        "class_path in an argument": hyperparameters(optimizer=path),
        "class_path in each argument": content(hyper_parameters=dict.fromkeys(("n_embd", "alphabet", "lr"), path)),
        "class_path of the data": content(
            datamodule_hyper_parameters={"path": path, "_class_path": "evil_module.Thing"}
        ),
        "another class of the data": content(evil_module={"sha256": "x"}, NamesDataModule=path),
    }
    named = {
        "a net that is a module": entry(net="evil_module"),
        "a net that is a path": entry(net="../../evil_module"),
        "a net that is os.system": entry(net="os.system"),
        "class_path in a net's argument": entry(net_args=ARGS | {"n_hidden": path}),
        "a net's size beyond memory": entry(net_args=ARGS | {"n_hidden": 10**12}),
        "a context beyond memory": entry(net_args=ARGS | {"block_size": 10**12}),
        "a number of 600 digits": entry(net_args=ARGS | {"vocab_size": 10**600}),
        "a size below 0": entry(net_args=ARGS | {"n_embd": -3}),
        "a size that is NaN": entry(net_args=ARGS | {"n_embd": float("nan")}),
        "an alphabet that steers terminals": entry(alphabet="ab\x1b]0;x\x07"),
        "an alphabet that is bytes": entry(alphabet=b"abc"),
        "an alphabet that is a tensor": entry(alphabet=torch.ones(3)),
        "an enormous alphabet": entry(alphabet="".join(map(chr, range(0x4E00, 0x9FA5)))),
        "a sparse weight": weights(torch.ones(5, 6).to_sparse()),
        "a quantized weight": weights(quantized),
        "a nested weight": weights(nested),
        "a complex weight": weights(torch.ones(5, 6, dtype=torch.complex64)),
        "a weight without values": weights(torch.ones(5, 6, device="meta")),
        "a weight of one value": weights(torch.ones(1).expand(5, 6)),
        "a weight that is text": weights("x"),
        "weights in a list": content(state_dict=[1]),
        "another format": entry(format=2),
        "a format that is a long list": entry(format=["x" * 100] * 1000),
        "no entry": content(charlm=None),
        "a step that is a dict": content(global_step={"a": 1}),
    }
    return passed_by, named


RUN = """
import codecs, json, os, sys, warnings
from pathlib import Path
import lightning.pytorch as pl, torch
from charlm.callbacks.atomic_io import AtomicCheckpointIO
from charlm.runs.checkpoint import load_checkpoint
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
            error = (type(problem).__mro__[0].__name__, isinstance(problem, (OSError, ValueError)), str(problem))
        answers.append([file.stem, name, error, sorted(set(sys.modules) - before), os.path.exists("marker")])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What each door said to each file, which modules it imported, and whether something ran: by case and door."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "evil_module.py").write_text(f"import os\nos.system({MARK.format(folder)!r})\n\nclass Thing:\n    pass\n")
    (folder / "good.ckpt").write_bytes(saved(content()))
    (folder / "warm.ckpt").write_bytes(saved(content(extra=Path("a"))))
    (folder / "inner.ckpt").write_bytes(saved(Runs(folder)))
    passed_by, named = odd(folder)
    cases = foreign(folder) | {name: saved(values) for name, values in (passed_by | named).items()}
    for number, data in enumerate(cases.values()):
        (folder / f"case{number:03}.ckpt").write_bytes(data)
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    names = list(cases)
    return {
        (names[int(stem[4:])], door): (error, modules, ran)
        for stem, door, error, modules, ran in json.loads(done.stdout.splitlines()[-1])
    }


FOREIGN, PASSED_BY, NAMED = (tuple(table) for table in (foreign("/nowhere"), *odd("/nowhere")))


def test_there_are_enough_of_them():
    assert len(FOREIGN) + len(PASSED_BY) + len(NAMED) >= 90


@pytest.mark.parametrize("door", DOORS)
def test_nothing_runs_and_nothing_is_imported(door, answers):
    seen = {case: (modules, ran) for (case, of), (_, modules, ran) in answers.items() if of == door}
    assert len(seen) == len(FOREIGN) + len(PASSED_BY) + len(NAMED)
    assert {case: found for case, found in seen.items() if found != ([], False)} == {}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_file_is_refused_in_a_sentence(case, door, answers):
    check_sentence(answers[case, door][0])


@pytest.mark.parametrize("door", DOORS[:2])
@pytest.mark.parametrize("case", NAMED)
def test_what_is_odd_in_a_checkpoint_is_named(case, door, answers):
    check_sentence(answers[case, door][0])


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", PASSED_BY)
def test_what_asks_for_an_object_is_passed_by(case, door, answers):
    error = answers[case, door][0]
    assert error is None or check_sentence(error)


def check_sentence(error):
    """One line, with the file, that never advises to switch a protection off."""
    _, documented, text = error
    assert documented, error
    assert ".ckpt " in text
    assert "\n" not in text
    assert not any(ord(ch) < 32 for ch in text)
    assert not any(word in text for word in ("weights_only", "safe_globals", "allowlist", "Error"))
    assert len(text) < 700
    return True
