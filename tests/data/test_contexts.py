import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.contexts import Contexts, StreamAttributes, build_contexts
from charlm.data.sequences import Sequences
from charlm.tokenizer import CharTokenizer

ABC = CharTokenizer("abc")
NAMES = st.lists(st.text("abc", max_size=9), max_size=12)


def padded(names, T):
    """The lectures' loop: a window that starts full of boundaries and is pushed along."""
    contexts, targets = [], []
    for name in names:
        window = [0] * T
        for ch in [*name, "."]:
            target = ".abc".index(ch)
            contexts.append(window)
            targets.append(target)
            window = [*window[1:], target]
    return contexts, targets


def unpadded(names, T):
    """The course notebook's loop: windows of T + 1 characters over ".name."."""
    contexts, targets = [], []
    for name in names:
        ids = [".abc".index(ch) for ch in f".{name}."]
        for i in range(len(ids) - T):
            contexts.append(ids[i : i + T])
            targets.append(ids[i + T])
    return contexts, targets


def stream_of(names):
    return ABC.encode_lines("".join(f"{name}\n" for name in names))


@given(NAMES, st.integers(1, 10), st.booleans())
def test_contexts_are_those_of_the_naive_loop(names, T, pad):
    contexts, targets = padded(names, T) if pad else unpadded(names, T)
    context, target = build_contexts(names, ABC, T, pad)
    assert (context.shape, target.shape) == ((len(targets), T), (len(targets),))
    assert (context.tolist(), target.tolist()) == (contexts, targets)
    assert (context.dtype, target.dtype) == (torch.int64, torch.int64)


@given(st.data(), NAMES.filter(any), st.integers(1, 6), st.sampled_from([torch.uint8, torch.int16, torch.int32]))
def test_any_examples_are_gathered_as_from_all_of_them(data, names, T, dtype):
    stream = stream_of(names).to(dtype)
    before = stream.clone()
    positions = data.draw(st.none() | st.lists(st.integers(0, len(stream) - 1), min_size=1).map(torch.tensor))
    examples = Contexts(stream, T, positions)
    index = torch.tensor(data.draw(st.lists(st.integers(0, len(examples) - 1), min_size=1, max_size=20)))
    context, target = examples.tensors()
    some_context, some_target = examples.gather(index)
    assert len(examples) == len(target) == (len(stream) if positions is None else len(positions))
    assert torch.equal(some_context, context[index])
    assert torch.equal(some_target, target[index])
    contexts, targets = padded(names, T)
    chosen = range(len(stream)) if positions is None else positions.tolist()
    assert (context.tolist(), target.tolist()) == ([contexts[i] for i in chosen], [targets[i] for i in chosen])
    assert torch.equal(stream, before)


def test_the_label_of_a_name_is_in_every_window():
    """In its first place and before the name; a window of one place has room for it at the beginning only."""
    attributes = StreamAttributes(labels=torch.tensor([4] * 4 + [3] * 2, dtype=torch.uint8))
    stream = torch.tensor([1, 2, 1, 0, 2, 0], dtype=torch.uint8)  # "aba", whose label is 4, and "b"
    rows = {3: [[4, 4, 4], [4, 4, 1], [4, 1, 2], [4, 2, 1], [3, 3, 3], [3, 3, 2]], 1: [[4], [1], [2], [1], [3], [2]]}
    for T, expected in rows.items():
        contexts = Contexts(stream, T, attributes=attributes)
        for context, target in (contexts.tensors(), contexts.gather(torch.arange(6))):
            assert (context.tolist(), target.tolist()) == (expected, [1, 2, 1, 0, 2, 0])
    names, target = Sequences.of_contexts(contexts).tensors()
    assert (names.tolist(), target.tolist()) == ([[4, 1, 2, 1], [3, 2, 0, 0]], [[1, 2, 1, 0], [2, 0, -1, -1]])
    assert contexts.without_labels().tensors()[0].tolist() == [[0], [1], [2], [1], [0], [2]]


@pytest.mark.parametrize(
    ("names", "block_size", "message"),
    [
        (["ab", "bd"], 3, "name 2, 'bd', has 'd' at position 1, outside the alphabet 'abc'"),
        (["ab", "c\na"], 3, r"name 'c\\na' has a line break in it; give every name by itself"),
        (["ab"], 0, "block_size is 0; it must be at least 1 character"),
    ],
)
def test_bad_arguments_are_refused(names, block_size, message):
    with pytest.raises(ValueError, match=message):
        build_contexts(names, ABC, block_size)
