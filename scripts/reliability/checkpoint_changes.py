"""Small checkpoints and random changes of them, for fuzz_checkpoints.py."""

import io
import pickle
import random
import warnings
import zipfile
from collections.abc import Sequence
from importlib import import_module

import torch

from charlm.runs.checkpoint import FORMAT, NETS


def originals() -> list[bytes]:
    """A small checkpoint of each net, with all that a Trainer adds to one."""
    made = []
    for name, module in NETS.items():
        net = getattr(import_module(module), name)(vocab_size=5)
        optimizer = torch.optim.AdamW(net.parameters())
        sum(weight.sum() for weight in net.parameters()).backward()
        optimizer.step()
        given = {"vocab_size": 5}
        content = {
            "pytorch-lightning_version": "2.6.6",
            "epoch": 1,
            "global_step": 10,
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 1}}}},
            "callbacks": {"RunCheckpoint{'monitor': 'loss/val'}": {"best_model_score": torch.tensor(2.0), "kth": ""}},
            "optimizer_states": [optimizer.state_dict()],
            "lr_schedulers": [],
            "state_dict": {f"net.{key}": weight for key, weight in net.state_dict().items()},
            "hyper_parameters": {"alphabet": "abcd", "lr": 0.1, "betas": (0.9, 0.99), "raw": b"bytes", "big": 2**70},
            "charlm": {"format": FORMAT, "net": name, "net_args": given, "alphabet": "abcd"},
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        made.append(stream.getvalue())
    return made


def changed(drawn: random.Random, bases: Sequence[bytes]) -> bytes:
    """A copy of one of them with one to four changes."""
    data = drawn.choice(bases)
    for _ in range(drawn.choice([1, 1, 1, 2, 4])):
        change = drawn.choice([flip, cut, splice, repack, repack, *[repickle] * 8])
        data = change(drawn, data, bases)
    return data


def flip(drawn: random.Random, data: bytes, bases: Sequence[bytes]) -> bytes:
    """One bit."""
    flipped = bytearray(data or b"\0")
    flipped[drawn.randrange(len(flipped))] ^= 1 << drawn.randrange(8)
    return bytes(flipped)


def cut(drawn: random.Random, data: bytes, bases: Sequence[bytes]) -> bytes:
    """The end, or the start, is gone."""
    place = drawn.randrange(len(data) + 1)
    return data[:place] if drawn.random() < 0.8 else data[place:]


def splice(drawn: random.Random, data: bytes, bases: Sequence[bytes]) -> bytes:
    """A piece of another one, in place of one as long or between."""
    other = drawn.choice(bases)
    start, place = drawn.randrange(len(other)), drawn.randrange(len(data) + 1)
    piece = other[start : start + drawn.choice([1, 4, 30, 300, 3000])]
    return data[:place] + piece + data[place + (len(piece) if drawn.random() < 0.5 else 0) :]


def parts_of(data: bytes) -> list[tuple[str, bytes]] | None:
    """The names and contents of an archive; None where it is none any more."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(part.filename, archive.read(part)) for part in archive.infolist()]
    except Exception:
        return None


def packed(parts: Sequence[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with right checksums."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in parts:
            archive.writestr(name, content)
    return stream.getvalue()


def repack(drawn: random.Random, data: bytes, bases: Sequence[bytes]) -> bytes:
    """The parts in another way."""
    parts = parts_of(data)
    if not parts:
        return data
    place, other = drawn.randrange(len(parts)), drawn.randrange(len(parts))
    name, content = parts[place]
    kind = drawn.randrange(6)
    if kind == 0:
        del parts[place]
    elif kind == 1:
        parts.insert(other, parts[place])
    elif kind == 2:
        parts[place] = (
            drawn.choice([parts[other][0], "../" + name, "/" + name, "a/constants.pkl", name + "x"]),
            content,
        )
    elif kind == 3:
        parts[place] = (name, parts[other][1])
    elif kind == 4:
        parts[place] = (name, content[: drawn.randrange(len(content) + 1)] + bytes(drawn.choice([0, 1, 64])))
    return packed(parts, zipfile.ZIP_DEFLATED if kind == 5 and drawn.random() < 0.3 else zipfile.ZIP_STORED)


_OPERATIONS = [
    bytes([code]) for code in b"(.0125FGIJKLMNPQRSTUVX]abcdeghijlopqrstu)}\x80\x81\x82\x85\x86\x87\x88\x89\x8a"
]
_NUMBERS = [b"K\x00", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"\x8a\x09" + bytes(8) + b"\x01", b"\x8a\x01\xff"]
_NAMES = [
    f"c{name}\n".replace(" ", "\n").encode()
    for name in (
        "torch Tensor",
        "torch FloatTensor",
        "torch Size",
        "torch device",
        "torch.storage UntypedStorage",
        "torch int64",
        "torch LongStorage",
        "torch QInt8Storage",
        "torch.nn.parameter Parameter",
        "collections Counter",
        "builtins set",
        "builtins bytearray",
        "exceptions bytearray",
        "_codecs encode",
        "builtins complex",
        "torch.serialization _get_layout",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_sparse_tensor",
        "torch._utils _rebuild_qtensor",
        "torch._utils _rebuild_nested_tensor",
        "torch._utils _rebuild_wrapper_subclass",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_meta_tensor_no_storage",
        "torch._tensor _rebuild_from_type_v2",
        "os system",
        "builtins eval",
        "torch._utils _rebuild_device_tensor_from_numpy",
        "torch._utils _rebuild_parameter_with_state",
    )
]


def repickle(drawn: random.Random, data: bytes, bases: Sequence[bytes]) -> bytes:
    """The pickle, in an archive whose checksums are right again."""
    parts = parts_of(data)
    place = next((n for n, (name, _) in enumerate(parts or []) if name.endswith("data.pkl")), None)
    if not parts or place is None or not parts[place][1]:
        return data
    name, pickled = parts[place]
    where = drawn.randrange(len(pickled))
    new = drawn.choice([drawn.choice(_OPERATIONS), drawn.choice(_NUMBERS), drawn.choice(_NAMES), b""])
    new = drawn.choice([new, new, pickle.dumps(drawn.choice(["", "x" * 99, -1, 2.5, None, [], {}]), 2)[2:-1]])
    gone = drawn.choice([0, 1, len(new)])
    named = [n for n in range(len(pickled)) if pickled[n : n + 1] == b"c" and b"\n" in pickled[n : n + 40]]
    if new[:1] == b"c" and named and drawn.random() < 0.7:  # another name in the place of one
        where = drawn.choice(named)
        gone = len(b"\n".join(pickled[where:].split(b"\n")[:2])) + 1
    elif drawn.random() < 0.3:
        new = bytes([pickled[where] ^ (1 << drawn.randrange(8))])
        gone = 1
    parts[place] = (name, pickled[:where] + new + pickled[where + gone :])
    return packed(parts)
