import io
import math
import string
import warnings
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charlm.callbacks.atomic_io import AtomicCheckpointIO
from charlm.nets.bigram import Bigram
from charlm.nets.mlp import MLP
from charlm.nets.ngram import NGram
from charlm.runs.load_checkpoint import FORMAT, load_checkpoint

WEIGHT = "net.hidden.weight"
MLP_ARGS = {"vocab_size": 27, "block_size": 2, "n_embd": 3, "n_hidden": 5, "init": "notebook"}


def content(module=None, **entry):
    """What Lightning and LitCharLM write, for an MLP if no other net is given."""
    module = module or MLP(**MLP_ARGS)
    return {
        "pytorch-lightning_version": "2.6.6",
        "global_step": 7,
        "callbacks": {},
        "state_dict": {f"net.{name}": weights for name, weights in module.state_dict().items()},
        "hyper_parameters": {
            "n_embd": 3,
            "n_hidden": 5,
            "_instantiator": "charlm.anything",
            "odd": {"class_path": "x"},
        },
        "datamodule_hyper_parameters": {"path": None, "split": [0.8, 0.1, 0.1], "_class_path": "x"},
        "NamesDataModule": {"sha256": "ab12", "source": "names.txt"},
        "charlm": {"format": 1, "net": "MLP", "net_args": MLP_ARGS, "alphabet": string.ascii_lowercase, **entry},
    }


@pytest.fixture
def saved(tmp_path):
    """Save anything as a checkpoint."""

    def save(values, path=tmp_path / "model.ckpt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(values, path)
        return path

    return save


def test_all_parts_come_back(saved):
    net = MLP(**MLP_ARGS)
    path = saved(content(net))
    before = torch.get_rng_state()
    loaded = load_checkpoint(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert not loaded.net.training
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), loaded.net.parameters(), strict=True))
    assert loaded.tokenizer.alphabet == string.ascii_lowercase
    assert loaded.hyperparameters == {"n_embd": 3, "n_hidden": 5}
    assert loaded.data == {"path": None, "split": [0.8, 0.1, 0.1]}
    assert (loaded.data_sha256, loaded.step) == ("ab12", 7)


@pytest.mark.parametrize(
    "stored",
    [lambda table: torch.cat([table, table])[5:], lambda table: table.T.contiguous().T, lambda table: table.double()],
    ids=["part of a table", "transposed", "float64"],
)
def test_a_weight_may_be_stored_in_another_way(stored, saved):
    values = content()
    weights = values["state_dict"][WEIGHT]
    values["state_dict"][WEIGHT] = stored(weights)
    loaded = load_checkpoint(saved(values))
    assert torch.equal(loaded.net.hidden.weight, weights)
    assert loaded.net.hidden.weight.dtype == torch.float32


def test_only_plain_settings_with_names_come_back(saved):
    odd = {1: 2, "split": [0.8, [0.1]], "path": b"x", "lowercase": torch.ones(1), "pad": True}
    values = {**content(), "datamodule_hyper_parameters": odd, "hyper_parameters": odd}
    loaded = load_checkpoint(saved(values))
    assert (loaded.data, loaded.hyperparameters) == ({"pad": True}, {"pad": True})


def weight(value):
    values = content()
    values["state_dict"][WEIGHT] = value
    return values


def ngrams(**state):
    values = content(NGram(27, 2), net="NGram", net_args={"block_size": 2})
    values["state_dict"] |= {f"net.{name}": value for name, value in state.items()}
    return values


UNFIT = {
    "another project's": (
        {"state_dict": {}, "pytorch-lightning_version": "2.6.6"},
        "is a Lightning checkpoint of another project",
    ),
    "plain weights": (MLP().state_dict(), "is a PyTorch file, not charlm's"),
    "a newer format": (content(format=FORMAT + 1), "has format 2, and this charlm reads 1; update charlm"),
    "an unknown net": (content(net="os.system"), "its net is 'os.system', and this version knows Bigram, BoW, DeepMLP"),
    "another net's arguments": (content(net="Bigram"), "the arguments of its net are .*Bigram takes"),
    "a size of 0": (content(net_args={**MLP_ARGS, "n_hidden": 0}), "n_hidden is 0; it must be at least 1"),
    "sizes beyond memory": (content(net_args={**MLP_ARGS, "n_hidden": 10**15}), "cannot be used"),
    "other sizes": (
        content(net_args={**MLP_ARGS, "n_hidden": 6}),
        r"net.hidden.weight is \(5, 6\), and its net needs \(6, 6\)",
    ),
    "one weight too few": (content(Bigram(27)), "net.embedding.weight is missing"),
    "whole numbers": (weight(torch.ones(5, 6, dtype=torch.int64)), f"{WEIGHT} is whole numbers"),
    "a sparse weight": (weight(torch.ones(5, 6).to_sparse()), f"{WEIGHT} is Tensor"),
    "a weight without values": (weight(torch.ones(5, 6, device="meta")), "cannot be used"),
    "NaN": (weight(torch.full((5, 6), math.nan)), f"{WEIGHT} is not finite"),
    "nothing counted": (ngrams(), "net.ngrams is empty, so its training counted nothing"),
    "an id beyond the alphabet": (
        ngrams(ngrams=torch.full((1, 3), 27, dtype=torch.uint8), counts=torch.ones(1, dtype=torch.int64)),
        "the examples have id 27, and vocab_size is 27",
    ),
    "a step that is text": ({**content(), "global_step": "7"}, "holds something else than charlm writes"),
    "no alphabet": (content(alphabet=None), "alphabet '' needs at least one character"),
    "a large alphabet": (content(alphabet=string.ascii_letters), "its alphabet needs 53 ids, and its net has 27"),
    "an empty file": (b"", r"is empty \(0 bytes\); copy it again"),
    "half a file": (b"PK\3\4 and so on", "is cut short, its end is missing; copy it again"),
    "a web page": (b"\n<!DOCTYPE html><html>404</html>", "is a web page or the like, not a checkpoint"),
    "an address": ("s3://bucket/a.ckpt", "is an address; .*local files only: download it first"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_refused_in_a_sentence(case, saved):
    values, message = UNFIT[case]
    path = values if isinstance(values, str) else saved(values)
    if isinstance(values, bytes):
        path.write_bytes(values)
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert "weights_only" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # torch's own advice is hidden


@pytest.mark.parametrize("variable", ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_WEIGHTS_ONLY_LOAD"])
def test_no_environment_variable_opens_the_door(variable, saved, monkeypatch):
    monkeypatch.setenv(variable, "1")
    assert load_checkpoint(saved(content())).step == 7
    with pytest.raises(ValueError, match=r": it holds more than tensors and plain values; none of it ran \("):
        load_checkpoint(saved({**content(), "extra": Path("a")}))


def repacked(data, place, new, gone):
    """The archive with other bytes in its pickle, and checksums that are right again."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as archive:
        for part in old.infolist():
            content = old.read(part)
            if part.filename.endswith("data.pkl"):
                start = place % len(content)
                content = content[:start] + new + content[start + gone :]
            archive.writestr(part.filename, content)
    return stream.getvalue()


PIECES = [b"K\x00", b"J\xff\xff\xff\x7f", b"}", b"]", b")", b"t", b"R", b"b", b"h\x01", b"0", b"(", b"\x86"]
NAMES = ["os system", "torch Size", "torch FloatStorage", "torch._utils _rebuild_parameter", "collections Counter"]
PIECES += [b"c" + name.replace(" ", "\n").encode() + b"\n" for name in NAMES]
PLACES = st.integers(0, 2**20)


@settings(max_examples=150, deadline=timedelta(seconds=5), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(PLACES, st.sampled_from(PIECES) | st.binary(max_size=3), st.integers(0, 30)), max_size=3),
    st.none() | PLACES,
)
def test_a_changed_checkpoint_is_read_or_refused_in_a_sentence(saved, tmp_path, changes, cut):
    data = saved(content()).read_bytes()
    for change in changes:
        data = repacked(data, *change)
    file = tmp_path / "changed.ckpt"
    file.write_bytes(data if cut is None else data[: cut % len(data)])
    for read in (load_checkpoint, AtomicCheckpointIO().load_checkpoint):
        said = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(file)
        except (OSError, ValueError) as error:
            said = str(error).partition("; for files of your own, allow")[0]
        assert "\n" not in said
        assert "weights_only" not in said


def test_flipped_bits_outside_the_values_of_tensors_are_counted(saved, script, capsys):
    """The short form of scripts/reliability/bitflip.py."""
    with pytest.raises(SystemExit) as end:
        script("bitflip").main(flips=200, checkpoint=str(saved(content())), where="frame")
    shown = capsys.readouterr().out
    assert end.value.code == 0
    assert "AtomicCheckpointIO: 0 changed" in shown
    assert "AtomicCheckpointIO refuses 100.00%" in shown
    # torch.load reads a part that is marked as a folder as empty, and no checksum covers the mark
    file = saved(content())
    whole = bytearray(file.read_bytes())
    whole[whole.rindex(b"PK\1\2", 0, whole.rindex(b"data/")) + 38] ^= 0x10
    file.write_bytes(whole)
    with pytest.raises(ValueError, match="is damaged"):
        load_checkpoint(file)
