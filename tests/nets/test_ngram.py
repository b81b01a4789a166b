from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.data.contexts import Contexts, build_contexts, encode_names
from charlm.data.splits import load_splits
from charlm.nets.loss import evaluate
from charlm.nets.ngram import NGram
from charlm.nets.parts import counting
from charlm.tokenizer import CharTokenizer

AB = CharTokenizer("ab")


def counted(names, block_size, tokenizer=AB):
    return NGram.from_contexts(Contexts(encode_names(names, tokenizer), block_size), tokenizer.vocab_size)


def kneser_ney(names, block_size, letters="ab"):
    """p(w | h) as Chen and Goodman write it, from sets and dictionaries of texts; "." begins and ends a name."""
    padded = [f"{'.' * block_size}{name}." for name in names]
    windows = [text[at : at + block_size + 1] for text in padded for at in range(len(text) - block_size)]
    count = {block_size: Counter(windows)}
    for length in reversed(range(block_size)):
        before = defaultdict(set)
        for longer in count[length + 1]:
            before[longer[1:]].add(longer[0])
        count[length] = Counter({text: len(characters) for text, characters in before.items()})
    discounts = {}
    for length, of_length in count.items():
        n = Counter(of_length.values())
        Y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0
        D = [j - (j + 1) * Y * n[j + 1] / n[j] if Y and n[j] else 0 for j in (1, 2, 3)]
        discounts[length] = [d if 0 < d < j else 0.75 for j, d in enumerate(D, start=1)]

    def p(w, h):
        shorter = p(w, h[1:]) if h else 1 / (len(letters) + 1)
        after = {last: count[len(h)][h + last] for last in f".{letters}" if count[len(h)][h + last]}
        if not after:
            return shorter
        D = {last: discounts[len(h)][min(c, 3) - 1] for last, c in after.items()}
        return (after.get(w, 0) - D.get(w, 0)) / sum(after.values()) + sum(D.values()) / sum(after.values()) * shorter

    return p


@settings(max_examples=60)
@given(st.lists(st.text("ab", max_size=7), min_size=1, max_size=25), st.integers(1, 4), st.integers(0, 99))
def test_it_is_the_formula_of_the_paper_after_every_context(names, block_size, seed):
    """Seen or not; counted at once or in parts in any order, with keys that fit into 64 bits or do not."""
    net = counted(names, block_size)
    p = kneser_ney(names, block_size)
    contexts = torch.cartesian_prod(*[torch.arange(3)] * block_size).view(-1, block_size)
    found = net(contexts).exp()
    expected = [[p(w, "".join(".ab"[i] for i in row)) for w in ".ab"] for row in contexts.tolist()]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-15)
    assert (found.sum(1) - 1).abs().max() < 1e-12
    in_parts, (context, target) = NGram(3, block_size), build_contexts(names, AB, block_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_MOST_KEYS", 9)
        for part in torch.randperm(len(target), generator=torch.Generator().manual_seed(seed)).split(5):
            in_parts.count(context[part], target[part])
    assert torch.equal(in_parts(contexts), net(contexts))


def test_names_with_weights_by_hand():
    """Of .a and .b each keeps a quarter, as D is 0.75; but "a" weighs 3, so that .a has 3/4 of what is not given up.

    Only the ratios of the weights matter, and equal ones change nothing.
    """
    context, target = build_contexts(["a", "b"], AB, 1)
    plain, start, found = counted(["a", "b"], 1), torch.tensor([[0]]), []
    for weights in ([3.0, 3.0, 1.0, 1.0], [0.006, 0.006, 0.002, 0.002], [7.0] * 4):
        net = NGram(3, 1)
        net.count(context[:1], target[:1], torch.tensor(weights[:1]))
        net.count(context[1:], target[1:], torch.tensor(weights[1:]))
        found.append(net(start).exp()[0])
        assert (net(torch.tensor([[0], [1], [2]])).exp().sum(1) - 1).abs().max() < 1e-12
    lower = plain(start).exp()[0] - torch.tensor([0, 0.25 / 2, 0.25 / 2])
    torch.testing.assert_close(found[0], lower + torch.tensor([0, 0.25 * 3 / 4, 0.25 / 4]), rtol=1e-12, atol=0)
    torch.testing.assert_close(found[1], found[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(found[2], plain(start).exp()[0], rtol=1e-12, atol=0)
    other = NGram(3, 1, weighted=True)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(start), net(start))


def test_before_it_counts_every_character_is_as_probable_as_any_other():
    net, start, evenly = NGram(27), torch.zeros(1, 3, dtype=torch.int64), [pytest.approx(1 / 27)] * 27
    assert net(start).exp()[0].tolist() == evenly
    net.count(start, torch.tensor([-1]))
    assert net(start).exp()[0].tolist() == evenly
    net.count(start, torch.tensor([5]))
    assert net(start).argmax() == 5
    net.clear()
    assert net(start).exp()[0].tolist() == evenly


def test_a_large_alphabet_and_a_long_context():
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 20_000)))
    names, tokenizer = [letters[at : at + 30] for at in range(0, 20_000, 30)], CharTokenizer(letters)
    net = counted(names, 12, tokenizer)
    assert net.ngrams.dtype == torch.int32
    context, target = build_contexts(names[:1], tokenizer, 12)
    p = net(context).exp()
    assert (p.sum(1) - 1).abs().max() < 1e-12
    assert torch.equal(p.argmax(1)[1:], target[1:])


def test_its_state_is_its_counts_and_loads_into_a_new_net():
    net, other = counted(["ab", "b", "ab"], 2), NGram(3, 2)
    assert set(net.state_dict()) == {"ngrams", "counts"}
    assert net.counts.sum() == 8
    other.load_state_dict(net.state_dict())
    context = torch.tensor([[0, 0], [1, 2], [2, 2]])
    assert torch.equal(other(context), net(context))
    other.count(torch.tensor([[1, 2]]), torch.tensor([1]))
    assert not torch.equal(other(context), net(context))
    assert net.counts.sum() == 8


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"ngrams": torch.zeros(2, 4, dtype=torch.int64)}, r"its n-grams are \(2, 4\), and block_size is 2"),
        ({"ngrams": torch.zeros(1, 3, dtype=torch.int64)}, r"its n-grams are \(1, 3\)"),
        ({"ngrams": torch.tensor([[0, 1, 3], [0, 0, 0]])}, "the examples have id 3, and vocab_size is 3"),
    ],
)
def test_counts_that_cannot_be_are_not_loaded(state, said):
    whole = {"ngrams": torch.tensor([[0, 0, 1], [0, 1, 0]]), "counts": torch.tensor([1, 1])}
    with pytest.raises(ValueError, match=said):
        NGram(3, 2).load_state_dict({**whole, **state})


@pytest.mark.parametrize(("last", "target", "culprit"), [(-1, 1, -1), (1, -2, -2), (3, 1, 3), (1, 3, 3)])
def test_an_id_outside_the_alphabet_is_refused(last, target, culprit):
    with pytest.raises(ValueError, match=f"the examples have id {culprit}, and vocab_size is 3"):
        NGram(3, 1).count(torch.tensor([[0], [last]]), torch.tensor([2, target]))


def test_windows_longer_than_its_context_count_by_their_last_characters():
    net, (context, target) = NGram(3, 2), build_contexts(["ab", "b", "bab"], AB, 5)
    net.count(context, target)
    assert torch.equal(net(context), counted(["ab", "b", "bab"], 2)(context[:, -2:]))
    with pytest.raises(ValueError, match="the contexts have 1 characters, and block_size is 2"):
        net.count(context[:, :1], target)
    with pytest.raises(ValueError, match="block_size is 0; it must be at least 1"):
        NGram(3, 0)


def test_four_characters_of_context_on_the_course_list(course_list):
    splits = load_splits(str(course_list), block_size=4)
    net = NGram.from_contexts(splits.train, 27)
    assert evaluate(net, [splits.val.tensors()]).loss == pytest.approx(2.0124, abs=5e-5)
    assert evaluate(net, [splits.test.tensors()]).loss == pytest.approx(1.9996, abs=5e-5)
