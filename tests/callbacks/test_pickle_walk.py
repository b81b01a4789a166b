"""Pickles by hand, which no checkpoint would hold, and what a walk through them says; none is loaded."""

import io
import pickle
import zipfile

import pytest
import torch

from charlm.callbacks.pickle_walk import RefusedError, check_pickle

MORE = "it holds more than tensors and plain values"
NESTED = "its values are nested without end"


def doubled(times):
    """A list of two that are one list of two that are ...: small as a file, without end for who goes through it."""
    value = []
    for _ in range(times):
        value = [value, value]
    return pickle.dumps(value, 2)


def deep(levels):
    """Lists within lists, written by hand as `pickle` would not come to the end of it."""
    return b"\x80\x02" + b"]" * levels + b"a" * (levels - 1) + b"."


REFUSED = {
    "a call of a number": (b"\x80\x02K\x01)R.", MORE, " (a call)"),
    "a call without arguments": (b"\x80\x02ccollections\nOrderedDict\nK\x01R.", MORE, " (a call)"),
    "torch.load": (b"\x80\x02ctorch\nload\n)R.", MORE, " ('torch.load')"),
    "a text encoded as another": (b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0rot13\x86R.", MORE,
                                  " (a call of '_codecs.encode')"),
    "a billion zeros": (b"\x80\x02cbuiltins\nbytearray\nJ\0\0\0\x40\x85R.", MORE, " (a call of 'builtins.bytearray')"),
    "a state of a class": (b"\x80\x02ccollections\nOrderedDict\n}b.", MORE, " (a state that changes a class)"),
    "an extension": (b"\x80\x02\x82\x01.", MORE, " (EXT1)"),
    "no pickle": (b"no pickle", "its list of contents cannot be read", ""),
    "doubled": (doubled(40), NESTED, ""),
    "deep": (deep(2000), NESTED, ""),
    "fewer values": (b"\x80\x02(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x03tQ.",
                     "it has fewer values than it says", ""),
}  # fmt: skip
TAKEN = {
    "values": pickle.dumps({"a": [1, 2.5, None, True], "b": ("x", {"y": -3})}, 2),
    "one list twice": doubled(3),
    "bytes": pickle.dumps(b"\xff", 2),
    "some levels": deep(20),
    "values of a tensor": REFUSED["fewer values"][0].replace(b"K\x03", b"K\x02"),
}


def storage(name):
    """Two float32 in the file."""
    return 8 if name == "0" else -1


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_more_than_a_checkpoint_holds_is_refused_with_what_it_is(case):
    data, reason, part = REFUSED[case]
    with pytest.raises(RefusedError) as refused:
        check_pickle(data, storage)
    assert (str(refused.value), refused.value.part) == (reason, part)


@pytest.mark.parametrize("case", TAKEN)
def test_what_a_checkpoint_may_hold_is_taken(case):
    check_pickle(TAKEN[case], storage)


def pickle_of(values):
    """What torch.save writes of them, without the bytes of tensors."""
    file = io.BytesIO()
    torch.save(values, file)
    with zipfile.ZipFile(file) as archive:
        return next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


@pytest.mark.parametrize("dtype", [*DTYPES, "complex64", "complex128"])
def test_a_tensor_of_any_type_has_as_many_values_as_its_bytes_hold(dtype):
    weight = torch.zeros(5, dtype=getattr(torch, dtype))
    data = pickle_of({"weight": weight})
    check_pickle(data, lambda name: weight.nbytes)
    with pytest.raises(RefusedError, match=r"^it has fewer values than it says"):
        check_pickle(data, lambda name: weight.nbytes - 1)


@pytest.mark.parametrize("size", [0, -1])
def test_a_single_byte_that_the_file_does_not_have_is_missed(size):
    data = pickle_of(torch.zeros(1, dtype=torch.uint8))
    check_pickle(data, lambda name: 1)
    with pytest.raises(RefusedError, match=r"^it has fewer values than it says"):
        check_pickle(data, lambda name: size)
