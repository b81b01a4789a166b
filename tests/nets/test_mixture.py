"""The mixture of a GRU and n-grams, beside slow formulas."""

import pytest
import torch
from torch import nn

from charlm.data.sequences import build_sequences
from charlm.nets.mixture import FOLDS, CrossFitted, HeldOut, Mixture
from charlm.nets.ngram import NGram
from charlm.nets.parts.held_out import fold_of
from charlm.tokenizer import CharTokenizer

NAMES = ["anna", "hanna", "nan", "ann", "han", "a", "anahanna", "nah", "ha", "naan", "anna", "aha"]
IDS, TARGET = build_sequences(NAMES, CharTokenizer("ahn"))
V = 4


@pytest.fixture
def net():
    torch.manual_seed(3)
    net = Mixture(V, n_embd=3, n_hidden=5, dropout=0.0).eval()
    for weight in net.parameters():
        nn.init.normal_(weight)
    net.count_names(IDS, TARGET)
    return net


def counted(names, order):
    """The n-gram of some names, counted window by window."""
    ngram = NGram(V, order)
    for name in names:
        ids = [0] * order + ["_ahn".index(ch) for ch in name] + [0]
        windows = [(ids[at : at + order], ids[at + order]) for at in range(len(name) + 1)]
        ngram.count(torch.tensor([w for w, _ in windows]), torch.tensor([t for _, t in windows]))
    return ngram


def after(ngram, name):
    """Its log-probabilities after a name."""
    return ngram(torch.tensor([([0] * ngram.block_size + ["_ahn".index(ch) for ch in name])[-ngram.block_size :]]))[0]


def test_the_logits_are_those_of_the_formula_character_by_character(net):
    """A GRU cell by hand, whose input has the n-grams' probabilities, and the product of all at the end."""
    ngrams = [counted(NAMES, order) for order in (4, 6)]
    w_ih, w_hh, b_ih, b_hh = net.recurrent.all_weights[0]
    name, state = "hannan", torch.zeros(5)
    logits = net(torch.tensor([[0, *("_ahn".index(ch) for ch in name)]]))[0]
    for at in range(len(name) + 1):
        log_p = torch.stack([after(ngram, name[:at]) for ngram in ngrams]).float()
        x = net.embedding.weight["_ahn".index(name[at - 1]) if at else 0] + net.expected(log_p.exp().flatten())
        gi, gh = (w_ih @ x + b_ih).chunk(3), (w_hh @ state + b_hh).chunk(3)
        reset, update = (gi[0] + gh[0]).sigmoid(), (gi[1] + gh[1]).sigmoid()
        state = (1 - update) * (gi[2] + reset * gh[2]).tanh() + update * state
        expected = net.output(state) + net.trust(state) @ log_p
        torch.testing.assert_close(logits[at], expected, rtol=1e-4, atol=1e-5)
        assert logits[at].softmax(0).sum().item() == pytest.approx(1, abs=1e-6)


def test_training_and_decoding_give_the_same_logits_and_gradients_flow(net):
    order = torch.tensor([len(name) for name in NAMES]).argsort(descending=True)
    names, inside = IDS[order], TARGET[order] >= 0
    whole = net(names)
    torch.testing.assert_close(net.train()(names)[inside], whole[inside])
    net(names).sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in net.parameters())
    net.eval()
    state, steps = None, []
    for column in names.unbind(1):
        logits, state = net.step(column, state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, 1), whole)


def test_no_copy_of_a_name_is_in_the_counts_that_it_is_trained_with():
    """Each name by n-grams of the names in other folds, counted one by one."""
    held_out = HeldOut(V)
    held_out.count_names(IDS[:5], TARGET[:5])
    held_out.count_names(IDS[5:], TARGET[5:])
    folds = fold_of(IDS, FOLDS).tolist()
    assert folds[NAMES.index("anna")] == folds[-2]  # two copies
    assert len(set(folds)) > 2
    assert fold_of(IDS[:4, :6], FOLDS).tolist() == folds[:4]  # less padding
    assert fold_of(IDS.index_fill(1, torch.tensor([0]), V), FOLDS).tolist() == folds  # with a label
    for ngram, order in zip(held_out.ngrams, (4, 6), strict=True):
        for fold in range(FOLDS):
            one = counted([name for name, of in zip(NAMES, folds, strict=True) if of != fold], order)
            chosen = ngram.ngrams[:, -2] == V + fold  # the fold's number stands before the target
            rows = ngram.ngrams[chosen][:, [*range(order), order + 1]]
            assert rows.tolist() == one.ngrams.tolist()
            assert ngram.counts[chosen].tolist() == one.counts.tolist()
    first = held_out(IDS)
    sums = first.exp().sum(-1)[TARGET >= 0]
    torch.testing.assert_close(sums, torch.ones_like(sums))
    shorter = held_out(IDS[[5, 3]][:, :4])  # these names are looked up already, and padded to the longer one
    torch.testing.assert_close(shorter, first[[5, 3], :4], rtol=0, atol=0)
    for labels in (0, 2):
        net, names, weights = Mixture(V, dropout=0.0, n_labels=labels).eval(), IDS.clone(), torch.arange(12.0)
        names[:, 0] = V if labels else 0  # the first label begins each name
        held_out = HeldOut(V, labels)
        held_out.count_names(names, TARGET, weights)
        crossed = CrossFitted(net, zip(names.split(5), TARGET.split(5), weights.split(5), strict=True))
        torch.testing.assert_close(crossed(names), net(names, held_out(names)))


def test_folds_of_similar_names_differ():
    """Names that differ in one character are dealt evenly, as their n-grams tell of each other."""
    ids = torch.zeros(26 * 26, 5, dtype=torch.int64)
    ids[:, 1], ids[:, 2], ids[:, 3] = torch.arange(676) // 26 + 1, torch.arange(676) % 26 + 1, 1
    folds = fold_of(ids, FOLDS)
    assert torch.bincount(folds).min() > 676 / FOLDS * 0.7
    same = (folds.view(26, 26)[:, None] == folds.view(26, 26)[None]).double().mean().item()
    assert same == pytest.approx(1 / FOLDS + (1 - 1 / FOLDS) / 26, abs=0.05)
