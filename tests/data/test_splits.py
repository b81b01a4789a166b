import inspect
import random
import tracemalloc
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data import corpus as corpus_file
from charlm.data.contexts import build_contexts
from charlm.data.corpus import read_corpus
from charlm.data.splits import PARTS, load_splits, split_sizes

TWENTY = [a + b for a in "abcd" for b in "vwxyz"]


def parts_of(splits):
    return [splits.names(part) for part in PARTS]


def rows(context, target):
    """The examples as a multiset of (context, target)."""
    return Counter((tuple(window), i) for window, i in zip(context.tolist(), target.tolist(), strict=True))


@pytest.mark.parametrize("pad", [True, False])
@pytest.mark.parametrize("split_by", ["name", "line"])
def test_the_examples_of_a_split_are_those_of_its_names(write, split_by, pad):
    splits = load_splits(write([*TWENTY, *TWENTY[:5], "lola"]), split_by=split_by, pad=pad, block_size=2)
    for part in PARTS:
        expected = build_contexts(splits.names(part), splits.tokenizer, 2, pad)
        assert all(map(torch.equal, getattr(splits, part).tensors(), expected))


def test_a_list_is_read_for_its_splits_with_all_options_of_read_corpus(tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes("José;1;M\nToo long a name;2;M\nAna;3;F\n".encode("cp1252"))
    options = {"column": 1, "weight": 2, "label": 3, "labels": ["M", "F"], "encoding": "cp1252"}
    options |= {"lowercase": True, "max_length": 4, "alphabet": "joséna", "bad_lines": "skip"}
    read, split = (inspect.signature(function).parameters for function in (read_corpus, load_splits))
    assert {*options, "path"} == {*read}
    assert all(split[name].default == read[name].default for name in read)
    corpus = load_splits(str(path), **options, split=(1, 0, 0)).corpus
    assert corpus == read_corpus(path, **options)
    assert corpus.names() == ["josé", "ana"]
    assert (corpus.weights.tolist(), corpus.labels, corpus.label_of.tolist()) == ([1, 3], ("M", "F"), [0, 1])


@given(
    names=st.lists(st.text("abé漢.", min_size=1, max_size=6), min_size=30, max_size=40, unique=True),
    block=st.integers(1, 40),
    split_by=st.sampled_from(["name", "line", "pair"]),
    pad=st.booleans(),
)
def test_a_long_list_is_split_as_a_short_one(scratch, names, block, split_by, pad):
    """Whatever the size of the blocks in which it is taken."""
    scratch.write_text("".join(f"{name}\n" for name in names * 2), "utf-8")
    options = {"split_by": split_by, "pad": pad, "block_size": 2}
    whole = load_splits(str(scratch), **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_file, "_CHUNK_BYTES", block)
        blocks = load_splits(str(scratch), **options)
    assert parts_of(blocks) == parts_of(whole)
    for part in PARTS:
        assert all(map(torch.equal, getattr(blocks, part).tensors(), getattr(whole, part).tensors()))


def key(name, seed):
    """The hash of a name, in whole numbers of Python."""

    def mix(word):
        word = (word + (seed + 1) * 0x9E3779B97F4A7C15) % 2**64
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        return word ^ word >> 31

    end = mix(len(name))
    return mix((sum(mix(ord(ch) << 32 | place) for place, ch in enumerate(name)) + end) % 2**64)


@given(
    names=st.lists(st.text("abcdé漢.", min_size=1, max_size=8), min_size=10, max_size=40),
    split=st.sampled_from([(0.8, 0.1, 0.1), (0.3, 0.3, 0.4), (0.05, 0.15, 0.8), (0.7, 0.0, 0.3), (0.5, 0.5, 0.0)]),
    seed=st.integers(0, 2**64 - 1),
)
def test_a_names_split_is_the_rank_of_its_hash_among_the_distinct_names(scratch, names, split, seed):
    names = [*names, *TWENTY]
    scratch.write_text("".join(f"{name}\n" for name in names), "utf-8")
    ranked = sorted(set(names), key=lambda name: key(name, seed))
    first, second = split_sizes(len(ranked), split, "names")
    expected = [int(ranked.index(name) >= first) + int(ranked.index(name) >= second) for name in names]
    assert load_splits(str(scratch), split=split, split_seed=seed).name_split.tolist() == expected


def test_a_list_takes_little_more_memory_than_its_text(write):
    """At most 3 bytes a character and 8 a name, besides the streams, which torch keeps, and the blocks in work."""
    names = [f"{number:x}" for number in random.Random(0).sample(range(16**5, 16**6), 200_000)] * 2
    path = write(names)
    tracemalloc.start()
    try:
        splits = load_splits(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(splits.corpus) == len(names)
    assert peak <= 2 * len(splits.corpus.data) + 8 * len(names) + 4e6


def test_by_line_every_line_is_drawn_for_itself(write):
    names = ["anna"] * 30 + TWENTY
    order = torch.randperm(50, generator=torch.Generator().manual_seed(42)).tolist()
    expected = [[names[i] for i in sorted(lines)] for lines in (order[:40], order[40:45], order[45:])]
    assert parts_of(load_splits(write(names), split_by="line")) == expected


@pytest.mark.parametrize("pad", [True, False])
def test_by_pair_every_example_is_drawn_for_itself(write, pad):
    splits = load_splits(write(TWENTY), split_by="pair", block_size=2, pad=pad)
    context, target = build_contexts(TWENTY, splits.tokenizer, 2, pad)
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(42))
    pieces = order.split([48, 6, 6] if pad else [32, 4, 4])
    for part, piece in zip((splits.train, splits.val, splits.test), pieces, strict=True):
        assert rows(*part.tensors()) == rows(context[piece], target[piece])
    assert torch.equal(splits.train.tensors()[0], context[pieces[0]])
    assert splits.name_split is None
    assert parts_of(splits) == [TWENTY] * 3


@pytest.mark.parametrize("split_by", ["name", "line", "pair"])
@pytest.mark.parametrize(
    ("split", "has"), [((0.8, 0.2, 0.0), [1, 1, 0]), ((0.8, 0.0, 0.2), [1, 0, 1]), ((1, 0, 0), [1, 0, 0])]
)
def test_a_split_may_have_no_share(write, split, has, split_by):
    splits = load_splits(write(TWENTY), split=split, split_by=split_by, pad=False)
    parts = [splits.train, splits.val, splits.test]
    assert [len(part) > 0 for part in parts] == list(map(bool, has))
    assert all(part.tensors()[0].shape == (len(part), 3) for part in parts)


@pytest.mark.parametrize(
    ("total", "split", "sizes"),
    [
        (100, (0.29, 0.4, 0.31), (29, 40, 31)),  # 0.29 * 100 is below 29
        (130, (0.8, 0.1, 0.1), (104, 13, 13)),
        (32_033, (0.8, 0.1, 0.1), (25_626, 3_203, 3_204)),
    ],
)
def test_sizes_are_those_of_the_lectures(total, split, sizes):
    first, second = split_sizes(total, split, "names")
    assert (first, second - first, total - second) == sizes


@pytest.mark.parametrize(
    ("names", "split_by", "message"),
    [
        (["emma"] * 2000, "name", r"the split .+ of 1 distinct name gives \(0, 0, 1\); add names or change"),
        (["emma"] * 4, "line", r"the split .+ of 4 names gives \(3, 0, 1\); add names"),
        (["a", "b"], "pair", r"the split .+ of 4 context/target pairs gives .+; add names"),
    ],
)
def test_too_few_names_for_three_splits_are_refused(write, names, split_by, message):
    with pytest.raises(ValueError, match=message):
        load_splits(write(names), split_by=split_by)


def test_the_courses_list_splits_without_a_leak(course_list):
    splits = load_splits(str(course_list))
    parts = [set(part) for part in parts_of(splits)]
    assert len(splits.corpus) == sum(map(len, parts_of(splits))) == 32_033
    assert len(parts[0] | parts[1] | parts[2]) == sum(map(len, parts)) == 29_494
    assert len(splits.train) + len(splits.val) + len(splits.test) == 228_146
    assert [len(part) for part in parts] == [23_595, 2_949, 2_950]


SHARES = "split is .*; give three shares for train, val and test that sum to 1"
NAN = float("nan")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"split": split}, SHARES) for split in [(0.8, 0.2), (0.8, 0.1, 0.2), (1.1, -0.1, 0), (0, 0.5, 0.5)]),
        *(({"split": split}, SHARES) for split in [(NAN, 0.5, 0.5), (0.5, 0.5, NAN)]),
        ({"split_by": "nam"}, "split_by is 'nam'; give 'name', 'line' or 'pair'"),
        ({"split_seed": 2**64}, "split_seed is .*; give a whole number of 0 or more"),
        ({"split_seed": -1}, "split_seed is -1; give a whole number of 0 or more"),
        ({"block_size": 0}, "block_size is 0; it must be at least 1 character of context"),
    ],
)
def test_a_typo_never_means_another_split(options, message):
    with pytest.raises(ValueError, match=message):
        load_splits(**options)
