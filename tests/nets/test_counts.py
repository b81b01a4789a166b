import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.data.contexts import Contexts, StreamAttributes, build_contexts
from charlm.data.corpus import read_corpus
from charlm.nets import counts
from charlm.nets.counts import CountBigram, count_pairs
from charlm.nets.loss import evaluate
from charlm.tokenizer import CharTokenizer

AB = CharTokenizer("ab")
NAMES = ["ab", "b"]  # pairs .a ab b. .b b.
COUNTS = [[0, 1, 1], [0, 0, 1], [2, 0, 0]]


def bigram(names, k, tokenizer=AB):
    return CountBigram.from_contexts(build_contexts(names, tokenizer, 1), tokenizer.vocab_size, k)


def test_counts_and_probabilities_by_hand():
    net = bigram(NAMES, k=1.0)
    assert net.counts.tolist() == COUNTS
    assert net.counts.dtype == torch.int64
    assert net.probabilities.dtype == torch.float64
    expected = [[1 / 5, 2 / 5, 2 / 5], [1 / 4, 1 / 4, 2 / 4], [3 / 5, 1 / 5, 1 / 5]]
    assert net.probabilities.tolist() == [pytest.approx(row) for row in expected]


def test_nll_by_hand():
    examples = build_contexts(NAMES, AB, 1)
    assert bigram(NAMES, k=0).nll(examples) == pytest.approx(2 * math.log(2) / 5)
    smoothed = -(math.log(2 / 5) + math.log(2 / 4) + math.log(3 / 5) + math.log(2 / 5) + math.log(3 / 5)) / 5
    assert bigram(NAMES, k=1).nll(examples) == pytest.approx(smoothed)


def test_without_smoothing_only_an_unseen_pair_costs_infinity():
    net = bigram(NAMES, k=0)
    assert net.probabilities[1].tolist() == [0, 0, 1]
    assert math.isfinite(net.nll(build_contexts(["b", "ab"], AB, 1)))
    assert net.nll(build_contexts(["aa"], AB, 1)) == math.inf


@settings(max_examples=50)
@given(st.lists(st.text("ab", max_size=10), min_size=1, max_size=20), st.integers(1, 7))
def test_counts_are_those_of_a_loop_whatever_the_chunk(names, chunk):
    pairs = Counter(pair for name in names for pair in zip(f".{name}", f"{name}.", strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counts, "_CHUNK", chunk)
        found = count_pairs(Contexts(AB.encode_lines("".join(f"{name}\n" for name in names)), 2), 3)
    assert found.tolist() == [[pairs[before, after] for after in ".ab"] for before in ".ab"]


@pytest.mark.parametrize("unit", [1.0, 0.001])
def test_a_name_of_weight_5_counts_five_times_whatever_the_unit(unit):
    stream = AB.encode_lines("ab\nb\n")  # pairs .a ab b. | .b b.
    weights = torch.tensor([5.0, 5.0, 5.0, 1.0, 1.0], dtype=torch.float64) * unit
    examples = Contexts(stream, 1, attributes=StreamAttributes(weights))
    net = CountBigram.from_contexts(examples, 3, k=1)
    assert (net.counts / unit).tolist() == [pytest.approx(row) for row in ([0, 5, 1], [0, 0, 5], [6, 0, 0])]
    k = 17 / 5  # their mean weight
    assert net.probabilities[0].tolist() == pytest.approx(
        [k / (6 + 3 * k), (5 + k) / (6 + 3 * k), (1 + k) / (6 + 3 * k)]
    )
    batches = [(*examples.tensors(), weights.float())]
    assert net.nll(examples) == pytest.approx(evaluate(net, batches).loss)


@pytest.mark.parametrize("k", [-0.5, math.nan, math.inf])
def test_k_must_be_a_number_from_0_on(k):
    with pytest.raises(ValueError, match=r"k is .+; it must be a number of at least 0"):
        bigram(NAMES, k)


@pytest.mark.parametrize(("k", "nll"), [(0, 2.454014), (1, 2.454577)])
def test_the_losses_of_the_course_on_its_own_list(k, nll, course_list):
    corpus = read_corpus(str(course_list))
    tokenizer = CharTokenizer.from_text(corpus.text)
    contexts = Contexts(tokenizer.encode_lines(corpus.text), block_size=1)
    assert (len(contexts), tokenizer.vocab_size) == (228_146, 27)
    assert CountBigram.from_contexts(contexts, 27, k).nll(contexts) == pytest.approx(nll, abs=5e-7)


def test_targets_that_do_not_count_are_not_counted():
    context, target = build_contexts(NAMES, AB, 1)
    padded = torch.cat([context, torch.tensor([[2], [0], [-5]])]), torch.cat([target, torch.full((3,), -1)])
    assert count_pairs(padded, 3).tolist() == COUNTS
    assert count_pairs((torch.tensor([[1]]), torch.tensor([-1])), 3).sum() == 0
    net = bigram(NAMES, k=1)
    assert net.nll(padded) == pytest.approx(evaluate(net, [(context, target)]).loss)


def test_its_logarithms_are_those_of_its_probabilities_and_travel_along():
    net, other = bigram(NAMES, k=0), bigram(["a"], k=1)
    assert torch.equal(net.log_probabilities, net.probabilities.log())
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.probabilities, net.probabilities)
    assert torch.equal(other(torch.tensor([[2, 0], [2, 1]])), net.probabilities[:2].log())
