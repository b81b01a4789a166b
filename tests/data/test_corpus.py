"""What is read from a names file, and what is refused with the line, the cause and what to do."""

import os
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data import corpus as corpus_file
from charlm.data import text_chunks as text_chunks_file
from charlm.data.corpus import BUNDLED, read_corpus
from charlm.data.splits import load_splits
from charlm.data.text_chunks import text_chunks

NAMES = "anna\nbo\nanna\nzoë\n"
TWENTY = [a + b for a, b in product("abcd", "vwxyz")]
LETTERS = "".join(map(chr, [*range(0x20000, 0x2A6D6), *range(0xAC00, 0xD7A4), *range(0x4E00, 0xA000)]))
LONG = r"at most 64 are accepted \(`max_length`\), one name a line"


DROPPED = "soft hyphens, directional marks or variation selectors dropped"


def refusal(path, **options):
    """The message on reading `path`, with FILE for its name."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        read_corpus(path, **options)
    return str(error.value).replace(str(path), "FILE")


def test_the_bundled_names_are_what_the_project_promises():
    """First names of the census of 1990, twice where both genders have them; other columns only where asked for."""
    corpus = read_corpus()
    names = corpus.names()
    assert (len(names), len(corpus), len(set(names))) == (5494, 5494, 5163)
    assert names == sorted(names)
    assert all(re.fullmatch("[a-z]{2,11}", name) for name in names)
    assert (corpus.source, corpus.note) == (str(BUNDLED), "")
    assert read_corpus(column="gender").alphabet == "FM"
    assert read_corpus(column=0).names()[1:3] == ["aaron,F,0.002", "aaron,M,0.240"]


@pytest.mark.parametrize(
    ("content", "names", "note"),
    [
        ("a \r\n \r\nb\r\n", ["a", "b"], "1 blank lines dropped, outer white space cut in 2 lines"),
        ("zoe\u0308\nbo\n", ["zoë", "bo"], "letters and accents composed (NFC) in 1 lines"),
        ("st. mary\nemma,20355\na b\n", ["st. mary", "emma,20355", "a b"], ""),
        (
            "An\xadna\n\u200e\u05e9\u200f\n\ufeff\u845b\U000e0100\n",
            ["Anna", "\u05e9", "\u845b"],
            f"{DROPPED} from 3 lines",
        ),
        ("x\u0301a\n", ["x\u0301a"], ""),  # an accent that has no composed form stays with its letter
    ],
)
def test_what_was_dropped_or_changed_is_counted_and_said(write, content, names, note):
    corpus = read_corpus(write(content))
    assert (corpus.names(), len(corpus), corpus.note) == (names, len(names), note)


def test_outer_white_space_of_any_script_is_cut_and_inner_space_is_kept(write):
    for space in "\t \u00a0\u1680\u2000\u2005\u200a\u202f\u205f\u3000":
        inner = " " if space == "\t" else space
        corpus = read_corpus(write(f"{space}{space}anna{space}\nmary{inner}ann\n"))
        assert corpus.names() == ["anna", f"mary{inner}ann".replace("\u2000", "\u2002")]  # NFC has one en quad


@pytest.mark.parametrize(
    "name", ["र्\u200dय", "क्\u200cष", "র\u200d্যা", "\u06cc\u200c\u0631", "\u0631\u0651\u200c\u0639", "\u0632\u0647\u200c"]
)
def test_joiners_are_letters_where_the_script_spells_with_them(write, name):
    assert read_corpus(write(f"{name}\n")).names() == [name]


def test_bad_lines_are_skipped_and_counted(write):
    path = write("anna\nb\u200bo\n".encode() + b"jos\xe9\n\n" + b"a" * 65 + "\n\u0301a\nbo\n\x00".encode())
    corpus = read_corpus(path, bad_lines="skip")
    assert corpus.names() == ["anna", "bo"]
    skipped = "5 bad lines skipped, the first one: line 2: U+200B is an invisible character"
    assert corpus.note == f"1 blank lines dropped, {skipped}"
    assert "line 3: U+FFFD is the replacement character" in refusal(write("a\nb\n\ufffd\n"))
    with pytest.raises(ValueError, match=r"no names in .*: 1 bad line skipped, the first one: line 1"):
        read_corpus(write("\x00\n"), bad_lines="skip")
    with pytest.raises(ValueError, match="bad_lines is 'drop'; give 'refuse' or 'skip'"):
        read_corpus(path, bad_lines="drop")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "UTF-16LE", "utf_8_sig"])
def test_a_file_may_have_another_encoding(write, encoding):
    path = write("anna\r\njosé\r\n".encode(encoding))
    assert read_corpus(path, encoding=encoding).names() == ["anna", "josé"]
    if "8" not in encoding:
        assert "as in `encoding` " + ("utf-16" if encoding == "utf-16" else "cp1252") in refusal(path)


def test_an_encoding_that_does_not_fit_is_refused(write):
    assert "line 2: U+FFFD is the replacement character" in refusal(write(b"abc\n\x80\xff\n"), encoding="shift_jis")
    assert "cannot be read as utf-16 (UTF-16 stream does not start with BOM)" in refusal(
        write(NAMES), encoding="utf-16"
    )
    with pytest.raises(ValueError, match=r"`encoding` is 'hex', which Python does not know; give utf-8"):
        read_corpus(write(NAMES), encoding="hex")


@pytest.mark.parametrize(
    ("lowercase", "names"),
    [
        ("tr", ["istanbul", "irmak", "\u0131sparta", "\u03bf\u03c3\u03b1\u03c2", "\u0131\u0300"]),
        ("lt", ["i\u0307stanbul", "i\u0307rmak", "isparta", "\u03bf\u03c3\u03b1\u03c2", "i\u0307\u0300"]),
        (True, ["i\u0307stanbul", "i\u0307rmak", "isparta", "\u03bf\u03c3\u03b1\u03c2", "\xec"]),
        (False, ["\u0130STANBUL", "\u0130RMAK", "ISPARTA", "\u039f\u03a3\u0391\u03a3", "\xcc"]),
    ],
)
def test_lower_case_follows_the_rules_of_a_language(write, lowercase, names):
    path = write(["\u0130STANBUL", "I\u0307RMAK", "ISPARTA", "\u039f\u03a3\u0391\u03a3", "I\u0300"])
    assert read_corpus(path, lowercase=lowercase).names() == names
    with pytest.raises(ValueError, match="lowercase is 'xx'; give true, false, tr, az, lt"):
        read_corpus(path, lowercase="xx")


CONTROL, INVISIBLE = "\x00\x07\x0b\x0c\x1b\x1c\x1f\x7f\x80\x85\t", "\u200b\u200c\u200d\u202e\u2060\u034f"
UTF8 = "is not UTF-8; save the file as UTF-8, or give its encoding, as in `encoding`"
REMOVE = "remove it from the line"
REFUSED = {  # the file: what is said of FILE
    b"": "no names in FILE: it is empty or has blank lines only; give one name a line",
    b"\xef\xbb\xbf \r\n\t\n \xc2\xa0\n": "no names in FILE: it is empty",
    "anna\njosé\n".encode("latin-1"): f"FILE, line 2: byte 0xe9 {UTF8}",
    b"anna\rbo\rjos\xe9\r": f"FILE, line 3: byte 0xe9 {UTF8}",
    b"anna\nz\xed\xa0\x80\n": f"FILE, line 2: byte 0xed {UTF8}",  # a surrogate
    b"anna\n\xc0\xae\n": f"FILE, line 2: byte 0xc0 {UTF8}",  # an overlong form
    b"anna\nzo\xc3": f"FILE, line 2: byte 0xc3 {UTF8}",  # cut in a letter
    "anna\n".encode("utf-16"): f"FILE, line 1: byte 0xff {UTF8}",
    b"PK\x03\x04...": "FILE is a spreadsheet, a PDF or an archive; save it as CSV, or unpack it",
    "anna\n".encode("utf-16-le"): rf"FILE, line 1: U\+0000 is a control character; {REMOVE}",
    **{f"anna\r\n\r\n bo \nan{ch}na\n": rf"FILE, line 4: U\+{ord(ch):04X} is a control character" for ch in CONTROL},
    **{f"a\na{ch}b\n": rf"FILE, line 2: U\+{ord(ch):04X} is an invisible character; {REMOVE}" for ch in INVISIBLE},
    **{f"a\na{ch}b\n": rf"FILE, line 2: U\+{ord(ch):04X} is a line separator" for ch in "\u2028\u2029"},
    "a\nb\u200bb\u200b\n\x00c\u200b\n": r"FILE, line 2: U\+200B is an invisible",  # the first one is named
    **{f"a\na{ch}b\n": rf"FILE, line 2: U\+{ord(ch):04X} is a blank that counts" for ch in "\u115f\u2800\u3164\uffa0"},
    "a\u0378\n": r"FILE, line 1: U\+0378 is no character of Unicode",
    "a\n\u0915\u0915\u200d\n\u0628\u200c\n": r"FILE, line 2: U\+200D is an invisible",  # they join nothing
    "a\n\n\u0308a\n\u0301b\n": r"FILE, line 3: U\+0308 is an accent without a letter before it; remove it",
    "anna\n" + "é" * 65: f"FILE, line 2: a name of 65 characters; {LONG}",
    f"anna\na{' ' * 1_000_000}b\n": "FILE, line 2: a name of 1000002 characters",  # in linear time, as is the next
    "anna\na" + "\u0301\u0316" * 500_000: f"FILE, line 2: a name of 1000001 characters; {LONG}",
    "anna\n" + "a" * 5_000_000: "FILE, line 2: more than 2,097,152 bytes without a line end; give a text file",
}


@pytest.mark.parametrize("row", range(len(REFUSED)))
def test_a_bad_file_is_refused_with_the_line_the_cause_and_what_to_do(row, write):
    content, message = list(REFUSED.items())[row]
    assert re.match(message, refusal(write(content)))


def test_more_different_letters_than_any_language_has_are_accepted(write):
    splits = load_splits(write([LETTERS[i : i + 4] for i in range(0, 65_536, 4)]))
    assert (splits.tokenizer.vocab_size, splits.train.stream.element_size()) == (65_537, 4)


def test_length_is_counted_in_characters_after_cutting(write):
    names = ["é" * 64, "語" * 64, "a" * 64]
    assert read_corpus(write([f"   {name}   " for name in names])).names() == names
    assert "line 1: a name of 4 characters; at most 3" in refusal(write("anna\nbo\n"), max_length=3)
    with pytest.raises(ValueError, match=r"^max_length is 0; it must be at least 1 character"):
        read_corpus(max_length=0)


def test_a_character_outside_the_alphabet_is_refused_with_its_line(write):
    path = write("\n\nanna\n \nnab\n")
    assert refusal(path, alphabet="an") == (
        "FILE, line 5: 'nab' has 'b' at position 2, outside the alphabet 'an'; clean the names file or widen `alphabet`"
    )
    assert read_corpus(path, alphabet="bna").names() == ["anna", "nab"]
    long = refusal(write("a" * 500 + "b"), max_length=1000, alphabet="a")
    assert re.search(r"line 1: 'a{40}'\.\.\. \(501 characters\) has 'b' at position 500", long)


PLACES = {
    **dict.fromkeys(["nams.txt", "link", "loop", "a\0b"], "there is no names file FILE; give an existing file"),
    "n" * 300: "FILE cannot be read (File name too long); give a copy of it in another place",
    ".": "FILE is a directory; give a text file with one name a line",
    "pipe": "FILE is a pipe or a device, and the names must be readable again later; write them to a file",
    "/proc/self/mem": "FILE cannot be read (Input/output error)",
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_without_a_names_file_is_refused(name, tmp_path):
    if name.startswith("/") and not Path(name).exists():
        pytest.skip("this system has no such file")
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="^" + re.escape(PLACES[name].replace("FILE", str(tmp_path / name)))):
        read_corpus(tmp_path / name)


def test_a_file_without_permission_is_told_from_a_directory(write, tmp_path, monkeypatch):
    """Windows says of both that permission is denied."""

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    path = write(NAMES)
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(PermissionError, match=rf"^{path} may not be read by this user; change its permissions"):
        read_corpus(path)
    with pytest.raises(IsADirectoryError, match=" is a directory; give a text file with one name a line"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("content", [TWENTY[:10], [*TWENTY, "eva"], "\n".join([*TWENTY[:19], "eva"])])
def test_a_file_that_changes_while_it_is_read_is_refused(content, write):
    path = write(TWENTY)
    chunks = text_chunks(Path(path), size=12)
    assert next(chunks).text == "av\naw\nax\nay\n"
    write(content)
    with pytest.raises(ValueError, match=f"^{path} changed while it was read; try again when no program writes to it$"):
        list(chunks)


@pytest.mark.parametrize(("most", "end"), [(100, "\n"), (100, "\r"), (99, "\n"), (99, "")])
def test_little_is_held_of_a_line_without_an_end(most, end, write, monkeypatch):
    monkeypatch.setattr(text_chunks_file, "_MOST_BYTES", most)
    monkeypatch.setattr(corpus_file, "_CHUNK_BYTES", 25)
    if end:
        assert read_corpus(write(f"{'a' * 49}{end}{'b' * 50}{end}")).names() == ["a" * 49, "b" * 50]
    else:
        assert ", line 1: more than 49 bytes without a line end" in refusal(write("a" * 100_000))


def reading(path, chunk, **options):
    """The corpus or the message, when the file is read in chunks of so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_file, "_CHUNK_BYTES", chunk)
        try:
            corpus = read_corpus(path, **options)
        except ValueError as error:
            return str(error)
        assert "".join(corpus.chunks()) == corpus.text
        assert all(text.endswith("\n") for text in corpus.chunks())
        return corpus


@given(
    text=st.text("aΣé\u0301\ufeff\u200b,\t \r\n\n", max_size=60),
    chunk=st.integers(1, 12),
    lowercase=st.booleans(),
    bad_lines=st.sampled_from(["refuse", "skip"]),
)
def test_a_long_file_reads_as_a_short_one_whatever_the_chunk(scratch, text, chunk, lowercase, bad_lines):
    """A file with several faults may have another one named."""
    scratch.write_bytes(text.encode())
    whole, chunks = (reading(str(scratch), size, lowercase=lowercase, bad_lines=bad_lines) for size in (1 << 16, chunk))
    assert chunks == whole or (isinstance(chunks, str) and isinstance(whole, str))


FAULTS = {
    b"jos\xe9": "byte 0xe9 is not UTF-8",
    b"b\xe2\x80\x8bo": r"U\+200B is an invisible character",
    b"a" * 65: "a name of 65 characters; at most 64",
    "\u0301a".encode(): r"U\+0301 is an accent without a letter",
    b"bx": "'bx' has 'x' at position 1, outside the alphabet 'anboz",
}


@given(
    before=st.lists(st.sampled_from(["anna", "", " bo ", "zoë"]), max_size=8),
    chunk=st.integers(1, 12),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    fault=st.sampled_from([*FAULTS]),
)
def test_a_fault_is_said_with_its_line_whatever_the_chunk(scratch, fault, end, before, chunk):
    content = [*(name.encode() for name in ["bo", *before]), fault, b"anna", b""]
    scratch.write_bytes(end.encode().join(content))
    found = reading(str(scratch), chunk, alphabet="anbozë" if b"x" in fault else None)
    assert re.search(f"names.txt, line {len(before) + 2}: {FAULTS[fault]}", found)
