"""What becomes of a names file that is not as it should be: by `charlm fit --data FILE`, and by the reader alone."""

import ctypes
import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

import lightning.pytorch  # noqa: F401  # its log handlers are made on import, and are not to hold a test's stderr
import pytest

from charlm.cli.main import main
from charlm.data import corpus as corpus_file
from charlm.data import text_chunks as text_chunks_file
from charlm.data.corpus import read_corpus
from charlm.data.splits import PARTS, load_splits
from charlm.data.text_chunks import text_chunks

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Lightning's own use of jsonargparse
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:StepDecay's fractions mean other steps than in the checkpoint"),
]

TWENTY = [a + b for a, b in product("abcd", "vwxyz")]
TINY = ["--model.n_embd=2", "--model.n_hidden=4", "--trainer.max_steps=1", "--trainer.accelerator=cpu"]
TINY += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
NO_NAMES = "no names in FILE: it is empty or has blank lines only; give one name a line"
TOO_FEW = " are too few for the split [0.8, 0.1, 0.1], which gives {}; add names or change data.split"
REMOVE = "remove it from the line"
ACCENT = "is an accent without a letter before it; remove it"
SAVE_AS = "is not UTF-8; save the file as UTF-8 and try again"
LONG = "at most 64 are accepted (data.max_length), one name a line"
ALL_LETTERS = "".join(map(chr, [*range(0x20000, 0x2A6D6), *range(0xAC00, 0xD7A4), *range(0x4E00, 0xA000)]))


def lines(*names):
    return "".join(f"{name}\n" for name in names).encode()


def control(character, kind="a control character"):
    return lines("anna", "bo", f"an{character}na", "zoe"), f"FILE, line 3: U+{ord(character):04X} is {kind}; {REMOVE}"


REFUSED = {  # the row of the table: (the file, what is said)
    "empty": (b"", NO_NAMES),
    "white space only": (b" \r\n\t\n \xc2\xa0\n", NO_NAMES),
    "Latin-1": ("anna\nbo\njosé\n".encode("latin-1"), f"FILE, line 3: byte 0xe9 {SAVE_AS}"),
    "UTF-16 with its mark": ("anna\nbo\n".encode("utf-16"), f"FILE, line 1: byte 0xff {SAVE_AS}"),
    "UTF-16 without a mark": ("anna\n".encode("utf-16-le"), f"FILE, line 1: U+0000 is a control character; {REMOVE}"),
    "surrogate bytes": (b"anna\nz\xed\xa0\x80\n", f"FILE, line 2: byte 0xed {SAVE_AS}"),
    "cut in a letter": ("anna\nzoë".encode()[:-1], f"FILE, line 2: byte 0xc3 {SAVE_AS}"),
    "NUL": control("\0"),
    "ESC": control("\x1b"),
    "vertical tab": control("\x0b"),
    "form feed": control("\x0c"),
    "file separator": control("\x1c"),
    "U+0085": control("\x85"),
    "inner tab": control("\t"),
    "U+2028": control("\u2028", "a line separator"),
    "zero-width space": control("\u200b", "an invisible character"),
    "bidi override": control("\u202e", "an invisible character"),
    "a second BOM": (b"\xef\xbb\xbf" * 2 + lines("anna"), f"FILE, line 1: U+FEFF is an invisible character; {REMOVE}"),
    "accent without a letter": (lines("anna", "\u0301bo"), f"FILE, line 2: U+0301 {ACCENT}"),
    "accent on a space": (lines("anna", "bo \u0301b"), f"FILE, line 2: U+0301 {ACCENT}"),
    "one name 2,000 times": (lines(*["emma"] * 2000), "1 distinct names" + TOO_FEW.format("(0, 0, 1)")),
    "one name": (lines("emma"), "1 distinct names" + TOO_FEW.format("(0, 0, 1)")),
    "four names": (lines("a", "b", "c", "d"), "4 distinct names" + TOO_FEW.format("(3, 0, 1)")),
    "a line of 1 MB": (lines("anna", "a" * 1_000_000), f"FILE, line 2: a name of 1000000 characters; {LONG}"),
    "a line of 65": (lines("anna", "é" * 65), f"FILE, line 2: a name of 65 characters; {LONG}"),
    "5 MB without a line end": (
        lines("anna") + b"a" * 5_000_000,
        "FILE, line 2: more than 2,097,152 bytes without a line end; give a text file with one name a line",
    ),
    "a million accents": (
        lines("anna", "a" + "\u0301\u0316" * 500_000), f"FILE, line 2: a name of 1000001 characters; {LONG}"
    ),
    "65,537 letters": (
        lines(*(ALL_LETTERS[i : i + 40] for i in range(0, 65_537, 40))),
        "FILE, up to line 1639: 65,560 different characters, more than any list of names has; at most 65,536 are"
        " accepted, give another file",
    ),
}  # fmt: skip
ACCEPTED = {  # the row of the table: (the file, its names, what is said of it)
    "CRLF": (b"\r\n".join(map(str.encode, TWENTY)), TWENTY, ""),
    "CR": (b"\r".join(map(str.encode, TWENTY)), TWENTY, ""),
    "BOM": (b"\xef\xbb\xbf" + lines(*TWENTY), TWENTY, ""),
    "decomposed": (
        lines("zoe\u0308", *TWENTY), ["zo\xeb", *TWENTY], "letters and accents composed (NFC) in 1 lines"
    ),
    "a dot in a name": (lines("st. mary", *TWENTY), ["st. mary", *TWENTY], ""),
    "space, digits, comma": (lines("emma,20355", "a b", *TWENTY), ["emma,20355", "a b", *TWENTY], ""),
    "one letter a name": (lines(*"abcdefghij"), list("abcdefghij"), ""),
    "repeated lines": (lines(*TWENTY * 3), TWENTY * 3, ""),
}  # fmt: skip


@pytest.fixture
def fit(tmp_path, monkeypatch, capsys, alone):
    """`charlm fit --data FILE` in a folder of its own: its status and the last line on standard error."""
    alone(monkeypatch, tmp_path)

    def fit(path, *options):
        status = 0
        capsys.readouterr()
        try:
            main(["fit", "--data", str(path), *TINY, *options])
        except SystemExit as end:
            status = end.code or 0
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return status, said.splitlines()[-1].replace(str(path), "FILE") if status else ""

    return fit


@pytest.mark.parametrize("row", REFUSED)
def test_a_bad_file_is_refused_with_the_line_the_cause_and_what_to_do(row, fit, tmp_path):
    content, message = REFUSED[row]
    file = tmp_path / "names.txt"
    file.write_bytes(content)
    assert fit(file) == (2, f"charlm: error: {message}")
    assert list(tmp_path.iterdir()) == [file], "the run that did not begin left something"
    if "too few" not in message:
        with pytest.raises(ValueError, match=re.escape(message.replace("FILE", str(file)))):
            read_corpus(file)


@pytest.mark.parametrize("row", ACCEPTED)
def test_a_file_that_is_saved_in_another_way_trains(row, fit, tmp_path):
    content, names, note = ACCEPTED[row]
    file = tmp_path / "names.txt"
    file.write_bytes(content)
    corpus = read_corpus(file)
    assert (corpus.names(), corpus.note) == (names, note)
    (tmp_path / "plain.txt").write_bytes(lines(*names))
    assert corpus.sha256 == read_corpus(tmp_path / "plain.txt").sha256
    parts = [set(load_splits(str(file)).names(part)) for part in PARTS]
    assert sum(map(len, parts)) == len(set(names)), "a name is in two splits"
    assert fit(file, "--trainer.fast_dev_run=true") == (0, "")


def test_an_alphabet_refuses_what_a_list_may_not_have(fit, tmp_path):
    (tmp_path / "names.txt").write_bytes(lines("anna", "emma,20355", "bo"))
    assert fit(tmp_path / "names.txt", "--data.alphabet=abemno") == (
        2,
        "charlm: error: FILE, line 2: 'emma,20355' has ',' at position 4, outside the alphabet 'abemno'; clean the"
        " names file or widen data.alphabet",
    )


def test_a_long_name_is_not_printed_whole(tmp_path):
    (tmp_path / "names.txt").write_bytes(lines("a" * 500 + "b"))
    with pytest.raises(ValueError, match=r", line 1: 'a{40}'\.\.\. \(501 characters\) has 'b' at position 500"):
        read_corpus(tmp_path / "names.txt", max_length=1000, alphabet="a")


def test_20000_letters_are_an_alphabet(tmp_path):
    letters = ALL_LETTERS[:20_000]
    (tmp_path / "names.txt").write_bytes(lines(*(letters[i : i + 4] for i in range(0, len(letters), 4))))
    splits = load_splits(str(tmp_path / "names.txt"))
    assert (splits.tokenizer.vocab_size, splits.train.stream.element_size()) == (20_001, 2)


@pytest.mark.parametrize("letters", [65_536, 65_537])
def test_as_many_letters_as_are_stated_are_accepted(letters, tmp_path):
    (tmp_path / "names.txt").write_bytes(lines(*ALL_LETTERS[:letters]))
    if letters == 65_536:
        assert len(read_corpus(tmp_path / "names.txt").alphabet) == 65_536
    else:
        with pytest.raises(ValueError, match=", up to line 65537: 65,537 different characters"):
            read_corpus(tmp_path / "names.txt")


PLACES = {
    "missing": ("nams.txt", "there is no names file FILE; give an existing file, or 'makemore'"),
    "broken link": ("link", "there is no names file FILE; give an existing file, or 'makemore'"),
    "link to itself": ("loop", "there is no names file FILE; give an existing file, or 'makemore'"),
    "a NUL in its name": ("a\0b", "there is no names file FILE; give an existing file, or 'makemore'"),
    "too long a name": ("n" * 300, "FILE cannot be read (File name too long); give a copy of it in another place"),
    "directory": (".", "FILE is a directory; give a text file with one name a line"),
    "endless": (
        "/dev/zero",
        "FILE is a pipe or a device, and the names must be readable again later; write them to a"
        " file and give that file",
    ),
    "cannot be read": (
        "/proc/self/mem", "FILE cannot be read (Input/output error); give a copy of it in another place"
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", PLACES)
def test_a_place_without_a_names_file_is_refused(row, fit, tmp_path):
    name, message = PLACES[row]
    if name.startswith("/") and not Path(name).exists():
        pytest.skip("this system has no such file")
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    assert fit(tmp_path / name) == (2, f"charlm: error: {message}")
    with pytest.raises(OSError, match=re.escape(message.replace("FILE", str(tmp_path / name)))):
        read_corpus(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path, python):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = python("-m", "charlm", "fit", "--data", pipe)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert done.stderr.splitlines()[-1].startswith(f"charlm: error: {pipe} is a pipe")


def as_other_users():
    """Root without its right to read every file."""
    for right in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.skipif(sys.platform != "linux", reason="the rights of root are Linux's here")
def test_a_file_without_permission_is_refused(tmp_path):
    file = tmp_path / "names.txt"
    file.write_bytes(lines(*TWENTY))
    file.chmod(0)
    done = subprocess.run(
        [sys.executable, "-m", "charlm", "fit", "--data", str(file)], cwd=tmp_path, preexec_fn=as_other_users,
        capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    refused = f"charlm: error: {file} may not be read by this user; change its permissions (chmod u+r)"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, refused)


@pytest.mark.parametrize("content", [lines(*TWENTY[:10]), lines(*TWENTY, "eva"), lines(*TWENTY[:19], "eva")[:-1]])
def test_a_file_that_changes_while_it_is_read_is_refused(content, tmp_path):
    file = tmp_path / "names.txt"
    file.write_bytes(lines(*TWENTY))
    blocks = text_chunks(file, size=12)
    assert next(blocks) == "av\naw\nax\nay\n"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{file} changed while it was read; try again when no program writes to it$"):
        list(blocks)


@pytest.mark.parametrize(("longest", "end"), [(100, "\n"), (100, "\r"), (99, "\n"), (99, "")])
def test_of_a_line_without_an_end_little_is_held(longest, end, tmp_path, monkeypatch):
    """The bytes of a line that are held are at most as many as are stated."""
    monkeypatch.setattr(text_chunks_file, "_MOST_BYTES", longest)
    monkeypatch.setattr(corpus_file, "_CHUNK_BYTES", 25)
    file = tmp_path / "names.txt"
    file.write_bytes(f"{'a' * 49}{end}{'b' * 50}{end}".encode() if end else b"a" * 100_000)
    if end:
        assert read_corpus(file).names() == ["a" * 49, "b" * 50]
    else:
        with pytest.raises(ValueError, match=", line 1: more than 49 bytes without a line end; give a text file"):
            read_corpus(file)


CHANGES = {
    "a name more": lines(*TWENTY, "va"),
    "a name fewer": lines(*TWENTY[1:]),
    "another order": lines(*TWENTY[::-1]),
    "a letter": lines("av", "aw", "ay", *TWENTY[3:]),
}


@pytest.mark.parametrize("resume", ["--ckpt_path=lightning_logs/version_0", "--resume=lightning_logs/version_0"])
def test_a_run_does_not_go_on_with_other_names(resume, fit, tmp_path):
    file = tmp_path / "names.txt"
    file.write_bytes(lines(*TWENTY))
    assert fit(file) == (0, "")
    for content in CHANGES.values():
        file.write_bytes(content)
        assert fit(file, resume, "--trainer.max_steps=2") == (
            2,
            "charlm: error: FILE holds other names than the checkpoint was trained on (FILE); resume with the same"
            " list, or start a new run",
        )
    file.write_bytes(b"\xef\xbb\xbf" + lines(*TWENTY).replace(b"\n", b"\r\n"))
    assert fit(file, resume, "--trainer.max_steps=2") == (0, "")
