import hashlib
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.data import corpus as corpus_file
from charlm.data.corpus import BUNDLED, read_corpus
from charlm.data.datamodule import NamesDataModule
from charlm.data.splits import load_splits

NAMES = "anna\nbo\nanna\nzoë\n"


@pytest.fixture
def write(tmp_path):
    """Put bytes or text into a file; its path."""

    def make(content):
        file = tmp_path / "names.txt"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(file)

    return make


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One file for all examples of a property."""
    return tmp_path_factory.mktemp("corpus") / "names.txt"


def refusal(path, **options):
    """The message on reading `path`, without the file's name."""
    with pytest.raises(ValueError, match=re.escape(path)) as error:
        read_corpus(path, **options)
    return str(error.value).replace(path, "FILE")


def test_the_bundled_names_are_what_the_project_promises():
    corpus = read_corpus()
    names = corpus.names()
    assert len(names) == len(corpus) >= 3000
    assert names == sorted(set(names))
    assert all(re.fullmatch("[a-z]{2,15}", name) for name in names)
    assert (corpus.source, corpus.note) == (str(BUNDLED), "")


def test_names_keep_their_order_and_their_copies(write):
    path = write(NAMES)
    corpus = read_corpus(path)
    assert corpus.names() == ["anna", "bo", "anna", "zoë"]
    assert (corpus.text, len(corpus), corpus.source, corpus.note) == (NAMES, 4, path, "")
    assert (corpus.data, corpus.alphabet) == (NAMES.encode(), "abnozë")


@pytest.mark.parametrize(
    "content",
    [
        NAMES,
        NAMES.replace("\n", "\r\n"),
        NAMES.replace("\n", "\r"),
        NAMES.replace("\n", "\r\n", 1).replace("o\n", "o\r"),
        NAMES[:-1],
        "\ufeff" + NAMES,
        NAMES.replace("ë", "e\u0308"),
        "\n\n" + NAMES.replace("\n", "\n \t\n"),
        "\r\n\r\n" + NAMES.replace("\n", "\r\n\r\n"),
        NAMES.replace("bo", "  bo\t"),
    ],
    ids=["LF", "CRLF", "CR", "mixed", "last-line-open", "BOM", "NFD", "blank-lines", "blank-CRLF", "outer-space"],
)
def test_the_fingerprint_is_of_the_names_and_not_of_how_the_file_was_saved(write, content):
    corpus = read_corpus(write(content))
    assert corpus.text == NAMES
    assert corpus.sha256 == hashlib.sha256(NAMES.encode()).hexdigest()


@pytest.mark.parametrize("content", ["anna\nbo\nanna\nzoe\n", "anna\nanna\nbo\nzoë\n", "anna\nbo\nzoë\n"])
def test_other_names_have_another_fingerprint(write, content):
    assert read_corpus(write(content)).sha256 != hashlib.sha256(NAMES.encode()).hexdigest()


@pytest.mark.parametrize(
    ("content", "names", "note"),
    [
        ("a\n\n\nb\n", ["a", "b"], "2 blank lines dropped"),
        ("\n\na\n", ["a"], "2 blank lines dropped"),
        ("a\nb\n\n", ["a", "b"], "1 blank lines dropped"),
        (" a\nb \t\n\tc \nd", ["a", "b", "c", "d"], "outer white space cut in 3 lines"),
        ("a \r\n \r\nb\r\n", ["a", "b"], "1 blank lines dropped, outer white space cut in 2 lines"),
    ],
)
def test_what_was_dropped_is_counted_and_said(write, content, names, note):
    corpus = read_corpus(write(content))
    assert (corpus.names(), len(corpus), corpus.note) == (names, len(names), note)


@pytest.mark.parametrize("space", list("\t \u00a0\u1680\u2000\u2005\u200a\u202f\u205f\u3000"))
def test_outer_white_space_of_any_script_is_cut_and_inner_space_is_kept(write, space):
    inner = " " if space == "\t" else space
    corpus = read_corpus(write(f"{space}{space}anna{space}\nmary{inner}ann\n"))
    assert corpus.names() == ["anna", f"mary{inner}ann".replace("\u2000", "\u2002")]  # NFC has one en quad


def test_names_are_put_into_lower_case_only_when_asked(write):
    path = write("Émile\nBO\nE\u0301va\n")
    assert read_corpus(path).names() == ["Émile", "BO", "Éva"]
    assert read_corpus(path, lowercase=True).names() == ["émile", "bo", "éva"]


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        ("anna\njosé\n".encode("latin-1"), 2, "e9"),
        (b"anna\r\nbo\r\njos\xe9\r\n", 3, "e9"),
        (b"anna\rbo\rjos\xe9\r", 3, "e9"),
        (b"\xef\xbb\xbfanna\njos\xe9\n", 2, "e9"),
        (b"anna\n\n\xc3(\n", 3, "c3"),
        (b"anna\nz\xed\xa0\x80\n", 2, "ed"),
        (b"anna\n\xc0\xae\n", 2, "c0"),
        (b"anna\nzo\xc3", 2, "c3"),
        ("anna\n".encode("utf-16"), 1, "ff"),
    ],
    ids=["Latin-1", "CRLF", "CR", "BOM", "after-blank", "surrogate", "overlong", "cut-off", "UTF-16"],
)
def test_bytes_that_are_not_utf_8_are_refused_with_their_line(write, content, line, byte):
    message = f"FILE, line {line}: byte 0x{byte} is not UTF-8; save the file as UTF-8 and try again"
    assert refusal(write(content)) == message


CONTROL = ["\x00", "\x01", "\x07", "\x08", "\x0b", "\x0c", "\x1b", "\x1c", "\x1f", "\x7f", "\x80", "\x85", "\x9f"]
INVISIBLE = ["\xad", "\u061c", "\u200b", "\u200c", "\u200d", "\u200e", "\u202a", "\u202e", "\u2060", "\u2066", "\ufeff"]


@pytest.mark.parametrize(
    ("character", "kind"),
    [(ch, "a control character") for ch in [*CONTROL, "\t"]]
    + [(ch, "an invisible character") for ch in INVISIBLE]
    + [(ch, "a line separator") for ch in "\u2028\u2029"],
    ids=lambda value: f"U+{ord(value):04X}" if len(value) == 1 else "",
)
def test_characters_that_nobody_sees_are_refused_with_their_line(write, character, kind):
    message = f"FILE, line 4: U+{ord(character):04X} is {kind}; remove it from the line"
    assert refusal(write(f"anna\r\n\r\n bo \nan{character}na\nbo\n")) == message


@pytest.mark.parametrize("content", ["a\nb\u200bb\nc\x00c\n", "a\nb\u200bb\u200b\n\x00c\u200b\n"])
def test_the_first_refused_character_is_the_one_named(write, content):
    assert refusal(write(content)).startswith("FILE, line 2: U+200B is an invisible character")


@pytest.mark.parametrize(("content", "line"), [("anna\n\u0301anna\n", 2), ("\u0301\n", 1), ("a\n\nb\n \u20ddx\n", 4)])
def test_an_accent_without_its_letter_is_refused_with_its_line(write, content, line):
    assert re.match(rf"FILE, line {line}: U\+\w+ is an accent without a letter before it; ", refusal(write(content)))


def test_the_first_lone_accent_is_the_one_named(write):
    assert "line 2: U+0308" in refusal(write("a\n\u0308a\n\u0301b\n"))


def test_an_accent_that_has_no_composed_form_stays_with_its_letter(write):
    assert read_corpus(write("x\u0301a\n")).names() == ["x\u0301a"]


@pytest.mark.parametrize(("letter", "length"), [("a", 65), ("é", 65), ("語", 65), ("a", 1_000_000)])
def test_a_line_that_is_no_name_is_refused_with_its_length(write, letter, length):
    assert refusal(write(f"anna\n{letter * length}\nbo\n")) == (
        f"FILE, line 2: a name of {length} characters; at most 64 are accepted (data.max_length), one name a line"
    )


def test_a_long_run_of_inner_space_is_refused_like_any_long_name(write):
    """A million spaces: cutting outer space must not try every one of them to the end of the run."""
    assert "line 2: a name of 1000002 characters" in refusal(write(f"anna\na{' ' * 1_000_000}b\n"))


def test_length_is_counted_in_characters_after_cutting(write):
    names = ["é" * 64, "語" * 64, "a" * 64]
    assert read_corpus(write("".join(f"   {name}   \n" for name in names))).names() == names
    path = write("anna\nbo\n")
    assert read_corpus(path, max_length=4).names() == ["anna", "bo"]
    assert "line 1: a name of 4 characters; at most 3" in refusal(path, max_length=3)


@pytest.mark.parametrize("max_length", [0, -5])
def test_a_greatest_length_below_1_is_refused(write, max_length):
    with pytest.raises(ValueError, match=f"^max_length is {max_length}; it must be at least 1 character$"):
        read_corpus(write("a\n"), max_length=max_length)


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n \t\r\n\n", b"\xef\xbb\xbf", " \u3000\n".encode()])
def test_a_file_without_names_is_refused(write, content):
    assert refusal(write(content)) == ("no names in FILE: it is empty or has blank lines only; give one name a line")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^there is no names file .+nams\.txt; give an existing file, or 'm"):
        read_corpus(str(tmp_path / "nams.txt"))


@pytest.mark.parametrize("path", [".", "", "/"])
def test_a_directory_is_refused(path):
    with pytest.raises(IsADirectoryError, match=r"^[./] is a directory; give a text file with one name a line$"):
        read_corpus(path)


def test_a_directory_is_told_from_a_file_without_permission(tmp_path, monkeypatch):
    """Windows says of both that permission is denied."""

    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(IsADirectoryError, match=" is a directory; give a text file with one name a line"):
        read_corpus(tmp_path)


def test_a_path_is_taken_as_well_as_its_text(write):
    path = Path(write(NAMES))
    assert read_corpus(path) == read_corpus(str(path))
    with pytest.raises(FileNotFoundError, match=r"^there is no names file makemore"):
        read_corpus(Path("makemore"))
    splits = load_splits(path, split=(1, 0, 0))
    assert splits.names("train") == NamesDataModule(path, split=(1, 0, 0)).splits.names("train")


def test_a_file_without_permission_is_refused(write):
    path = write(NAMES)
    os.chmod(path, 0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")
    with pytest.raises(PermissionError, match=r" may not be read by this user; change its permissions \(chmod u\+r\)$"):
        read_corpus(path)


@given(text=st.text("ab.é\t \u3000\r\n", max_size=40))
def test_a_file_reads_as_its_lines_one_by_one(scratch, text):
    scratch.write_bytes(text.encode())
    lines = [line.strip("\t \u3000") for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    names = [line for line in lines if line]
    if not names or any("\t" in name for name in names):
        with pytest.raises(ValueError, match=r"^no names in|a control character"):
            read_corpus(str(scratch))
    else:
        assert read_corpus(str(scratch)).names() == names


def reading(path, block, **options):
    """The corpus or the message, when the file is taken in blocks of so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_file, "_CHUNK_BYTES", block)
        try:
            corpus = read_corpus(path, **options)
        except ValueError as error:
            return str(error)
        assert "".join(corpus.chunks()) == corpus.text
        assert all(text.endswith("\n") for text in corpus.chunks())
        return corpus


@given(text=st.text("aΣé\u0301\ufeff\t \r\n\n", max_size=40), block=st.integers(1, 12), lowercase=st.booleans())
def test_a_long_file_reads_as_a_short_one_whatever_the_block(scratch, text, block, lowercase):
    """A file with several faults may have another one named."""
    scratch.write_bytes(text.encode())
    whole, blocks = (reading(str(scratch), size, lowercase=lowercase) for size in (1 << 16, block))
    assert blocks == whole or (isinstance(blocks, str) and isinstance(whole, str))


@given(before=st.lists(st.sampled_from(["anna", "", " bo ", "zoë"]), max_size=8), block=st.integers(1, 12))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (b"jos\xe9", "byte 0xe9 is not UTF-8"),
        (b"b\xe2\x80\x8bo", r"U\+200B is an invisible character"),
        ("\ufeffbo".encode(), r"U\+FEFF is an invisible character"),
        (b"a" * 65, "a name of 65 characters; at most 64"),
        ("\u0301a".encode(), r"U\+0301 is an accent without a letter"),
        (b"bx", "'bx' has 'x' at position 1, outside the alphabet 'anboz"),
    ],
)
def test_a_fault_is_said_with_its_line_whatever_the_block(scratch, fault, message, end, before, block):
    lines = [*(name.encode() for name in ["bo", *before]), fault, b"anna", b""]
    scratch.write_bytes(end.encode().join(lines))
    alphabet = "anbozë" if b"x" in fault else None
    found = reading(str(scratch), block, alphabet=alphabet)
    assert re.search(f"names.txt, line {len(before) + 2}: {message}", found)


@given(content=st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_whatever_the_bytes_a_file_is_refused_in_a_sentence_or_read_clean(scratch, content):
    scratch.write_bytes(content)
    try:
        corpus = read_corpus(str(scratch))
    except ValueError:
        refusal(str(scratch))
        return
    scratch.write_text(corpus.text, "utf-8")
    again = read_corpus(str(scratch))
    assert (again.text, again.sha256, again.note) == (corpus.text, corpus.sha256, "")
    assert all(corpus.names())
    assert len(corpus.names()) == len(corpus)


def test_a_character_outside_the_alphabet_is_refused_with_its_line(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("\n\nanna\n \nnab\n")
    with pytest.raises(
        ValueError, match=r"names\.txt, line 5: 'nab' has 'b' at position 2, outside the alphabet 'an'; clean"
    ):
        read_corpus(file, alphabet="an")
    assert read_corpus(file, alphabet="bna").names() == ["anna", "nab"]
