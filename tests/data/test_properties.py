"""What holds for every names file and every alphabet that Unicode allows, on files that hypothesis makes."""

import hashlib
import json
import unicodedata

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charlm.data.corpus import read_corpus
from charlm.data.splits import load_splits
from charlm.inference.export import about, to_safetensors
from charlm.inference.sampling import sample_names
from charlm.nets.bigram import Bigram
from charlm.runs.load_checkpoint import FORMAT, load_checkpoint
from charlm.tokenizer import UNPRINTABLE

# everything that a name may have: letters of any script, accents behind them, signs, digits
INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufffd"
SELECTORS = "".join(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
CHARACTERS = st.characters(
    exclude_categories=["Cs", "Cn", "Zs", *UNPRINTABLE], exclude_characters=INVISIBLE + SELECTORS
)
CLEAN = (
    st.text(CHARACTERS, min_size=1, max_size=12)
    .map(lambda name: unicodedata.normalize("NFC", name))
    .filter(lambda name: unicodedata.category(name[0])[0] != "M")
)
LISTS = st.lists(CLEAN, min_size=1, max_size=20)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\r\n\n", " \t\n \n"])
PIECES = [*',,;"\x00\t\x1b\x85\xa0\u200b\u2028\u3000\ufeff\u0301\u0316\u20dd\uffff\U0010ffff', "ﬁ", "a" * 65, "\u0344"]
WORDS = ["anna", "zoë", "Ёлка", "アキコ", "שרה", "देवी", "O'Neil", "e\u0301va", "\U0001d49c", "İ", "각"]
WORDS += ["\u1100\u1161\u11a8"]


@st.composite
def damaged_lists(draw):
    """A list of names with odd characters, saved in one of several encodings, and some of its bytes changed."""
    words = draw(st.lists(st.sampled_from([*WORDS, *WORDS, *PIECES]), min_size=1, max_size=20))
    text = "".join(word + draw(st.one_of(ENDS, st.just(""))) for word in words)
    encoding = draw(st.sampled_from(["utf-8"] * 9 + ["utf-8-sig", "utf-16", "utf-16-le", "latin-1"]))
    content = bytearray(text.encode(encoding, errors="replace"))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=3))
    return bytes(content)


def properties(number):
    return settings(max_examples=number)


def outcome(file, options):
    """The corpus and "", or None and the message of an OSError or ValueError; other exceptions fail the test."""
    try:
        return read_corpus(file, **options), ""
    except (OSError, ValueError) as error:
        return None, f"an unexpected {type(error)}" if type(error) not in (OSError, ValueError) else str(error)


@properties(250)
@given(
    content=damaged_lists() | damaged_lists() | st.binary(max_size=60) | st.text(max_size=40).map(str.encode),
    lowercase=st.booleans(),
    max_length=st.sampled_from([64, 8]),
    alphabet=st.none() | st.none() | st.just("".join(sorted(set("".join(WORDS))))),
    column=st.sampled_from([0, 0, None, 1, "a"]),
    bad_lines=st.sampled_from(["refuse", "skip"]),
)
def test_any_bytes_are_read_clean_or_refused_in_a_sentence(
    tmp_path_factory, content, lowercase, max_length, alphabet, column, bad_lines
):
    file = tmp_path_factory.getbasetemp() / "any_bytes.txt"
    options = {"lowercase": lowercase, "max_length": max_length, "alphabet": alphabet, "column": column}
    options["bad_lines"] = bad_lines
    file.write_bytes(content)
    corpus, message = outcome(file, options)
    if corpus is None:
        faults = [
            f"{file}, line ",
            f"no names in {file}:",
            f"{file} is damaged",
            f"{file} is a spreadsheet, a PDF or an archive",
            *([] if column == 0 else [f"{file} "]),
        ]
        assert any(fault in message for fault in faults)
        assert len(message) < 1000
        assert "\n" not in message
        return
    names = corpus.names()
    assert len(names) == len(corpus) > 0
    assert all(0 < len(name) <= max_length and name == name.strip(" \t\u3000") for name in names)
    assert corpus.alphabet == "".join(sorted(set("".join(names))))
    file.write_bytes(corpus.data)
    again = read_corpus(file, **options | {"column": 0})
    assert (again.data, again.alphabet, again.note) == (corpus.data, corpus.alphabet, "")


@properties(60)
@given(names=LISTS)
@example(
    names=["\U00020bb7\u7530", "\U0001e900\U0001e922", "\U0001f600", "\"'\\{%", "null", "क्\u200dष", "\ue000\U0010fffd"]
)
def test_every_alphabet_goes_from_a_file_to_a_checkpoint_and_an_export(tmp_path_factory, names):
    folder = tmp_path_factory.getbasetemp()
    (folder / "unicode.txt").write_bytes("".join(f"{name}\n" for name in names).encode())
    splits = load_splits(str(folder / "unicode.txt"), split=(1, 0, 0), column=0)
    alphabet = splits.tokenizer.alphabet
    assert splits.names("train") == names == splits.tokenizer.decode_lines(splits.train.stream[3:])
    net = Bigram(len(alphabet) + 1).eval()
    assert set("".join(sample_names(net, splits.tokenizer, 5))) <= set(alphabet)

    checkpoint = folder / "unicode.ckpt"
    entry = {"format": FORMAT, "net": "Bigram", "net_args": {"vocab_size": net.W.shape[0]}, "alphabet": alphabet}
    arguments = {"alphabet": alphabet, "path": str(folder / "unicode.txt")}
    weights = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"charlm": entry, "state_dict": weights, "datamodule_hyper_parameters": arguments}, checkpoint)
    loaded = load_checkpoint(checkpoint)
    assert (loaded.tokenizer.alphabet, loaded.data) == (alphabet, arguments)

    content, run = to_safetensors(loaded.net, about(loaded))
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["charlm"])["alphabet"] == alphabet
    ids = torch.tensor(splits.tokenizer.encode(names[0]))[:, None]
    assert torch.equal(run(ids), net(ids))


@properties(150)
@given(names=LISTS, data=st.data())
def test_a_list_and_its_fingerprint_are_the_same_however_the_file_was_saved(tmp_path_factory, names, data):
    """With any line ends, outer white space and blank lines, a byte order mark, letters and accents composed or not."""
    file = tmp_path_factory.getbasetemp() / "saved.txt"
    saved = data.draw(st.sampled_from(["", "\ufeff", "\n\n", "\ufeff\r\n"]))
    changed = 0
    for name in names:
        written = unicodedata.normalize(data.draw(st.sampled_from(["NFC", "NFD"])), name)
        changed += written != name
        saved += data.draw(st.sampled_from(["", "  "])) + written + data.draw(ENDS)
    for content in (saved, saved.rstrip("\r\n")):
        file.write_bytes(content.encode())
        corpus = read_corpus(file, max_length=12, column=0)
        assert corpus.names() == names
        assert corpus.alphabet == "".join(sorted(set("".join(names))))
        assert corpus.sha256 == hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest()
        assert (f"composed (NFC) in {changed} lines" in corpus.note) == (changed > 0)
