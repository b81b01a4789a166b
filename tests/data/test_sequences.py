import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.contexts import Contexts, build_contexts
from charlm.data.sequences import Sequences, build_sequences, known_before
from charlm.tokenizer import IGNORED, CharTokenizer

LETTERS = CharTokenizer("abc")
some_names = st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=20)


@given(some_names, st.integers(1, 5))
def test_the_targets_are_exactly_those_of_the_windows(names, block_size):
    context, target = build_contexts(names, LETTERS, block_size)
    whole, after = build_sequences(names, LETTERS)
    counted = after != IGNORED
    assert after[counted].tolist() == target.tolist()
    # the last characters of what comes before each position are its window
    before = known_before(whole)[counted]
    assert before.shape == (len(target), whole.shape[1])
    for row, window in zip(before.tolist(), context.tolist(), strict=True):
        known, shown = [[i for i in ids if i] for ids in (row, window)]
        assert shown == known[-block_size:]


@given(some_names, st.data())
def test_any_names_can_be_gathered_and_are_padded_to_the_longest_of_them(names, data):
    chosen = data.draw(st.lists(st.integers(0, len(names) - 1), min_size=1, max_size=30))
    sequences = Sequences(LETTERS.encode_lines("".join(f"{name}\n" for name in names)))
    assert len(sequences) == len(names)
    found, target = sequences.gather(torch.tensor(chosen))
    expected = build_sequences([names[i] for i in chosen], LETTERS)
    assert torch.equal(found, expected[0])
    assert torch.equal(target, expected[1])
    assert found.shape[1] == max(len(names[i]) for i in chosen) + 1


def test_examples_that_are_not_whole_names_are_refused():
    contexts = Contexts(LETTERS.encode_lines("ab\n"), 1, positions=torch.tensor([0]))
    with pytest.raises(ValueError, match=r"^this model takes whole names, and `split_by` pair and `pad`"):
        Sequences.of_contexts(contexts)
