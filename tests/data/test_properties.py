"""What holds of every list of names, tried on 10,000 lists that hypothesis makes."""

import random
import unicodedata
from collections import Counter
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.data.batches import BatchLoader
from charlm.data.contexts import Contexts, encode_names
from charlm.data.corpus import read_corpus
from charlm.data.sequences import Sequences
from charlm.data.splits import PARTS, load_splits
from charlm.tokenizer import UNPRINTABLE, CharTokenizer

# all that a name may have: letters of any script, accents behind them, signs, digits
CHARACTERS = st.characters(exclude_categories=["Cs", "Zs", *UNPRINTABLE])
WORDS = st.text(CHARACTERS, min_size=1, max_size=12)
CLEAN = WORDS.map(lambda name: unicodedata.normalize("NFC", name)).filter(
    lambda name: unicodedata.category(name[0])[0] != "M"
)
FEW = st.text("abcé漢.", min_size=1, max_size=7)  # so few letters that names come twice


def examples(number):
    return settings(max_examples=number, deadline=None)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One file for all examples of a property."""
    return tmp_path_factory.mktemp("properties") / "names.txt"


def write(file, names, end="\n", start=""):
    file.write_bytes((start + "".join(f"{name}{end}" for name in names)).encode())
    return str(file)


@examples(3000)
@given(names=st.lists(WORDS, min_size=1, max_size=6), more=st.text(CHARACTERS, max_size=30))
def test_every_name_is_decoded_as_it_was_encoded(names, more):
    alphabet = "".join(dict.fromkeys("".join(names) + more))
    tokenizer = CharTokenizer(alphabet)
    assert [tokenizer.decode(tokenizer.encode(name)) for name in names] == names
    stream = encode_names(names, tokenizer)
    assert tokenizer.decode_lines(stream) == names
    assert stream.tolist() == [alphabet.find(ch) + 1 for name in names for ch in f"{name}\n"]


@examples(2000)
@given(names=st.lists(WORDS, min_size=1, max_size=8), T=st.integers(1, 14))
def test_a_window_is_what_stands_before_its_target(names, T):
    """By the place of a character alone: column k of the window of character i is character i - T + k."""
    tokenizer = CharTokenizer.from_text("".join(names))
    examples = Contexts(encode_names(names, tokenizer), T)
    context, target = (found.tolist() for found in examples.tensors())
    assert len(examples) == len(context) == len(target) == sum(len(name) + 1 for name in names)
    at = 0
    for name in names:
        ids = [*tokenizer.encode(name), 0]
        for i, expected in enumerate(ids):
            assert context[at + i] == [ids[i - T + k] if i - T + k >= 0 else 0 for k in range(T)]
            assert target[at + i] == expected
        # the last characters of the windows and the end are the name
        assert tokenizer.decode(row[-1] for row in context[at : at + len(ids)]) == name
        at += len(ids)


@examples(1000)
@given(names=st.lists(WORDS, min_size=1, max_size=8), T=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_whole_names_have_the_targets_of_windows(names, T, seed):
    tokenizer = CharTokenizer.from_text("".join(names))
    windows = Contexts(encode_names(names, tokenizer), T)
    whole = Sequences.of_contexts(windows)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    ids, target = whole.gather(order)
    assert len(whole) == len(names)
    for row, to_come, number in zip(ids.tolist(), target.tolist(), order.tolist(), strict=True):
        length = len(names[number]) + 1
        assert to_come == [*tokenizer.encode(names[number]), 0] + [-1] * (len(row) - length)
        assert row == [0, *tokenizer.encode(names[number])] + [0] * (len(row) - length)
    assert target[target >= 0].sort().values.tolist() == windows.tensors()[1].sort().values.tolist()


@examples(800)
@given(
    names=st.lists(FEW, min_size=12, max_size=40),
    shares=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.3, 0.2), (0.9, 0.1, 0.0), (0.6, 0.0, 0.4), (1.0, 0.0, 0.0)]),
    seed=st.integers(0, 2**64 - 1),
    T=st.integers(1, 4),
)
def test_splits_by_name_share_none_and_know_neither_order_nor_copies(scratch, names, shares, seed, T):
    names = [*names, *(f"{number}x" for number in range(20))]  # enough distinct ones for any share
    options = {"split": shares, "split_seed": seed, "block_size": T}
    splits = load_splits(write(scratch, names), **options)
    parts = [splits.names(part) for part in PARTS]
    distinct = [set(part) for part in parts]
    assert sum(map(Counter, parts), Counter()) == Counter(names)
    assert sum(map(len, distinct)) == len(set(names)), "two splits share a name"
    assert [len(getattr(splits, part)) for part in PARTS] == [sum(map(len, part)) + len(part) for part in parts]
    assert all(abs(len(part) - share * len(set(names))) < 1 for part, share in zip(distinct, shares, strict=True))
    assert [splits.names(part) for part in PARTS] == [list(filter(part.__contains__, names)) for part in distinct]
    mixed = random.Random(seed).sample(names + names[::3], len(names + names[::3]))
    other = load_splits(write(scratch, mixed), **options)
    assert [set(other.names(part)) for part in PARTS] == distinct


@examples(1000)
@given(names=st.lists(CLEAN, min_size=1, max_size=8), data=st.data())
def test_a_list_is_the_same_however_its_lines_end(scratch, names, data):
    corpus = read_corpus(write(scratch, names))
    assert corpus.names() == names
    assert corpus.note == ""
    assert corpus.alphabet == "".join(sorted(set("".join(names))))
    ends = data.draw(
        st.lists(st.sampled_from(["\n", "\r\n", "\r", "\r\n\n"]), min_size=len(names), max_size=len(names))
    )
    start = data.draw(st.sampled_from(["", "\ufeff", "\n\n", "\ufeff\r\n"]))
    content = start + "".join(name + end for name, end in zip(names, ends, strict=True))
    for saved in (content, content.rstrip("\r\n")):
        scratch.write_bytes(saved.encode())
        found = read_corpus(scratch)
        assert (found.data, found.sha256, found.alphabet) == (corpus.data, corpus.sha256, corpus.alphabet)


@examples(1000)
@given(names=st.lists(CLEAN, min_size=1, max_size=8), data=st.data())
def test_a_list_is_the_same_composed_or_not(scratch, names, data):
    forms = data.draw(st.lists(st.sampled_from(["NFC", "NFD"]), min_size=len(names), max_size=len(names)))
    written = [unicodedata.normalize(form, name) for form, name in zip(forms, names, strict=True)]
    corpus = read_corpus(write(scratch, names))
    found = read_corpus(write(scratch, written), max_length=12)
    assert (found.names(), found.sha256) == (names, corpus.sha256)
    changed = sum(a != b for a, b in zip(written, names, strict=True))
    assert found.note == (f"letters and accents composed (NFC) in {changed} lines" if changed else "")


@examples(1200)
@given(
    total=st.integers(8, 90),
    batch_size=st.integers(1, 20),
    world=st.integers(1, 4),
    sampling=st.sampled_from(["sequential", "epoch", "replacement"]),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 1000),
)
def test_the_ranks_share_each_global_batch(total, batch_size, world, sampling, seed, epoch):
    def batches(size, rank, world_size):
        numbered = Contexts(torch.arange(1, total + 1, dtype=torch.int32), block_size=1)
        loader = BatchLoader(numbered, size, sampling=sampling, seed=seed, rank=rank, world_size=world_size)
        loader.set_epoch(epoch)
        found = [target.tolist() for _, target in loader]
        assert len(found) == len(loader)
        return found

    ranks = [batches(batch_size, rank, world) for rank in range(world)]
    assert len(set(map(len, ranks))) == 1, "a rank waits for the others"
    together = [list(chain(*pieces)) for pieces in zip(*ranks, strict=True)]
    if sampling == "sequential":
        assert sorted(chain(*together)) == list(range(1, total + 1))
    elif batch_size * world < total:  # a whole split in one batch needs no order
        for number, (whole, joined) in enumerate(zip(batches(batch_size * world, 0, 1), together, strict=True)):
            assert joined[: len(whole)] == whole
            assert len(joined) - len(whole) < world, f"batch {number} is filled up further than to even pieces"
    if sampling == "epoch":
        assert set(chain(*together)) == set(range(1, total + 1))
