from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.contexts import Contexts, build_contexts
from charlm.tokenizer import CharTokenizer

ABC = CharTokenizer("abc")
COURSE_LIST = Path(__file__).parents[3] / "shared" / "names.txt"
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


def test_contexts_by_hand():
    context, target = build_contexts(["ab", "c"], ABC, block_size=3)
    assert context.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 0, 0], [0, 0, 3]]
    assert target.tolist() == [1, 2, 0, 3, 0]
    assert (context.dtype, target.dtype) == (torch.int64, torch.int64)


def test_the_notebooks_contexts_by_hand():
    """Its first window is the boundary and two characters, so "ab" has one example and "c" none."""
    context, target = build_contexts(["ab", "c", "cab"], ABC, block_size=3, pad=False)
    assert context.tolist() == [[0, 1, 2], [0, 3, 1], [3, 1, 2]]
    assert target.tolist() == [0, 2, 0]


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


@pytest.mark.parametrize("pad", [True, False])
def test_no_names_give_no_examples(pad):
    context, target = build_contexts([], ABC, 3, pad)
    assert (context.shape, target.shape) == ((0, 3), (0,))


@pytest.mark.parametrize("number", [7, 100])
def test_a_number_without_an_example_is_refused(number):
    with pytest.raises(IndexError):
        Contexts(stream_of(["abcabc"]), 3).gather(torch.tensor([0, number]))


@pytest.mark.parametrize("block_size", [0, -1])
@pytest.mark.parametrize("pad", [True, False])
def test_a_context_has_at_least_one_character(block_size, pad):
    with pytest.raises(ValueError, match=rf"^block_size is {block_size}; it must be at least 1 character of context$"):
        build_contexts(["ab"], ABC, block_size, pad)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ab", "bd"], "name 2, 'bd', has 'd' at position 1, outside the alphabet 'abc'"),
        (["ab", "c\na"], r"name 'c\\na' has a line break in it; give every name by itself"),
    ],
)
def test_a_name_that_is_not_of_the_alphabet_is_refused(names, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build_contexts(names, ABC, 3)


@pytest.mark.skipif(not COURSE_LIST.exists(), reason="the course's names.txt is not part of the project")
def test_the_courses_list_has_228146_examples_and_they_are_those_of_its_loop():
    names = COURSE_LIST.read_text().splitlines()
    table = CharTokenizer.from_text("".join(names))
    context, target = build_contexts(names, table, 3)
    assert context.shape == (228_146, 3)
    expected, window = [], [0, 0, 0]
    for ch in "".join(f"{name}." for name in names[:3000]):
        i = 0 if ch == "." else ord(ch) - 96
        expected.append([*window, i])
        window = [*window[1:], i] if i else [0, 0, 0]
    assert torch.cat([context, target[:, None]], 1)[: len(expected)].tolist() == expected
