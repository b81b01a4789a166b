"""A training that starts from the weights of another one, on other letters."""

from pathlib import Path

import pytest
import torch

from charlm.models.mixture import LitMixture
from charlm.models.names import LitGRU
from charlm.models.ngram import LitNGram
from charlm.models.registry import MODELS
from charlm.models.start_from import start_from
from charlm.models.windows import LitBigram, LitMLP
from charlm.runs.load_checkpoint import Checkpoint

WITH_LABELS = [LitMLP, LitGRU, LitMixture]


def checkpoint(model):
    return Checkpoint(Path("last.ckpt"), model.net, model.tokenizer, {}, {}, None, 1, net_args=model._net_args)


def remade(model, **arguments):
    """A new model with other weights."""
    return type(model)(**{**model.hparams, **arguments})


def test_each_weight_goes_to_the_same_letters_and_new_letters_keep_their_own(make):
    old = make(LitBigram)
    new = remade(old, alphabet="bxc")
    with torch.no_grad():
        old.net.W.copy_(torch.arange(16.0).view(4, 4))  # of ".abc"
        new.net.W.fill_(-1)
    assert start_from(new, checkpoint(old)) == "x"
    assert new.net.W.tolist() == [[0, 2, -1, 3], [8, 10, -1, 11], [-1, -1, -1, -1], [12, 14, -1, 15]]  # of ".bxc"


@pytest.mark.parametrize(
    ("kind", "labels"),
    [*((kind, None) for kind in MODELS.values() if kind is not LitNGram), *((kind, ["F"]) for kind in WITH_LABELS)],
)
def test_the_same_names_have_the_same_logits_with_the_letters_in_another_order(make, kind, labels):
    old = make(kind, labels=labels) if labels else make(kind)
    new = remade(old, alphabet="cab", **({"labels": ["M", "F"]} if labels else {}))
    ids = torch.tensor([0, 2, 3, 1])  # of ".abc" in ".cab"
    names = torch.tensor([[0, 1, 2, 3, 3, 1, 0, 2, 1], [0, 2, 2, 1, 3, 1, 2, 3, 3]])
    names = names[:, -(old.net.block_size or 8) :]
    assert start_from(new, checkpoint(old)) == ""
    expected, found = old.eval().net(names), new.eval().net(ids[names])
    torch.testing.assert_close(found[..., ids], expected)


@pytest.mark.parametrize(
    ("kind", "other", "arguments", "message"),
    [
        (LitMLP, LitGRU, {}, "last.ckpt holds the weights of GRU, which do not fit MLP; give"),
        (LitNGram, LitNGram, {}, "NGram has counts alone"),
        (LitGRU, LitGRU, {"n_hidden": 5}, "last.ckpt has n_hidden 5, not 4; give"),
        (LitMLP, LitMLP, {"block_size": 3}, "has block_size 3, not 8; give"),
        (LitMLP, LitMLP, {"labels": ["F"]}, "names with labels, as MLP must be; give `label`"),
    ],
)
def test_another_net_is_refused(make, kind, other, arguments, message):
    with pytest.raises(ValueError, match=message):
        start_from(make(kind), checkpoint(make(other, **arguments)))
