"""Feed the reader of names files with damaged and made-up files: each is read clean or refused in a sentence.

python scripts/reliability/fuzz_names.py                      20,000 files
python scripts/reliability/fuzz_names.py --inputs 1000000     some minutes

Files are lists of names of many scripts, damaged: bytes changed, put in, cut out, repeated or put at another place;
white space, controls, accents and line ends of all kinds put in; saved as UTF-16 or Latin-1; and bytes and text that
are no list. Each goes through `read_corpus` with options drawn for it. What is read is checked: clean lines, as many
as said, over the alphabet, and the same when written and read again. What is refused must be a ValueError or OSError
of one sentence or two that names the file.

Batches of files run in processes of their own that may hold 1 GB of data and are killed where a file takes longer than
10 seconds. A file that breaks a rule is kept in --out. The exit status is 1 where one did.
"""

import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt, PositiveInt

from charlm.data.corpus import read_corpus

_MEMORY_DISK = Path("/dev/shm")  # where files are written some ten times faster
_BATCH = 50_000  # files a process
_SECONDS = 10  # a file may take
_MEMORY = 1_000_000_000  # bytes a process may hold
_LONGEST_MESSAGE = 1000  # characters, the name of the file aside
_WORDS = (
    *(
        "anna",
        "bo",
        "zoë",
        "Émile",
        "José",
        "Ёлка",
        "アキコ",
        "ミヤ",
        "שרה",
        "देवी",
        "प्रिया",
        "李小龍",
        "O'Neil",
        "St. Mary",
        "3K",
    ),
    *("e\u0301va", "\U0001d49c", "ß", "İ", "ΑΣΣ", "각", "\u1100\u1161\u11a8", " bo ", "a b"),
)
_ENDS = (*["\n"] * 200, *["\r\n"] * 60, *["\r"] * 20, *["\n\n"] * 10, "\x85", "\u2028", "", "\x0b")
_PIECES = (
    *"\x00\x01\t\x1b\x1c\x7f\x85\xa0\xad\u200b\u200d\u2003\u2028\u202e\u3000\ufeff\u0301\u0316\u20dd\ufe0f\ufffd\uffff",
    *(
        "   ",
        "\t\t",
        "\u0301\u0316" * 40,
        "a" * 65,
        "a" * 64,
        " " * 100,
        "\U0010ffff",
        "ﬁ",
        "\u0344",
        ".",
        ",",
        ";",
        "/",
    ),
)


def main(
    inputs: PositiveInt = 20_000,
    seed: NonNegativeInt = 0,
    out: str = "fuzz_names_faults",
    first: NonNegativeInt = 0,
    child: str | None = None,
) -> None:
    """Try the inputs, print what became of them, and keep those that broke a rule.

    Args:
        inputs: how many files.
        seed: of the files: the same ones are made again.
        out: a folder for the files that broke a rule, made where there is one.
        first: the number of the first file.
        child: be one of the processes, which prints its counts as JSON; its file is in this folder.
    """
    if child is not None:
        print(json.dumps(try_batch(range(first, first + inputs), seed, Path(out), Path(child) / "names.txt")))
        return
    started, counts, memory = time.perf_counter(), Counter[str](), 0
    for number in range(first, first + inputs, _BATCH):
        size = min(_BATCH, first + inputs - number)
        result = in_a_process(number, size, seed, Path(out))
        memory = max(memory, result.pop("memory"))
        counts += Counter(result)
        print(f"{number + size - first:,} files, {counts['faults']} faults", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - started
    named = ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()) if what != "faults")
    print(f"{inputs:,} files: {named}; {counts['faults']} faults")
    print(f"{inputs / seconds:,.0f} files a second, at most {memory / 1e6:.0f} MB resident in a process")
    raise SystemExit(1 if counts["faults"] or memory > _MEMORY else 0)


def in_a_process(first: int, size: int, seed: int, out: Path) -> dict[str, int]:
    """The counts of a batch; one fault where its process did not come to its end."""
    with tempfile.TemporaryDirectory(prefix="names-", dir=_MEMORY_DISK if _MEMORY_DISK.is_dir() else None) as place:
        options = [f"--inputs={size}", f"--seed={seed}", f"--out={out}", f"--first={first}", f"--child={place}"]
        done = subprocess.run([sys.executable, __file__, *options], capture_output=True, text=True)
        if done.returncode == 0:
            return dict(json.loads(done.stdout))
        print(f"the process of {first} to {first + size - 1} ended with {done.returncode}: {done.stderr[-500:]}")
        out.mkdir(parents=True, exist_ok=True)
        for last in Path(place).iterdir():
            shutil.copy(last, out / f"{first}-ended.txt")
    return {"faults": 1, "memory": 0}


def try_batch(numbers: range, seed: int, out: Path, file: Path) -> dict[str, int]:
    """Try these files, each by the name of `file`, in this process, which its limits end."""
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    counts = Counter(faults=0)
    for number in numbers:
        generator = random.Random(f"{seed} {number}")
        content, options = made(generator), drawn_options(generator)
        file.write_bytes(content)
        signal.alarm(_SECONDS)  # its default is to end the process
        try:
            counts[tried(file, options)] += 1
        except Exception as error:
            counts["faults"] += 1
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{number}.txt").write_bytes(content)
            (out / f"{number}.log").write_text(f"{options}\n{error!r}\n", encoding="utf-8")
    signal.alarm(0)
    return {**counts, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def tried(file: Path, options: dict[str, Any]) -> str:
    """What became of a file.

    Raises:
        AssertionError: not what was promised. Any other exception is a fault too.
    """
    try:
        corpus = read_corpus(file, **options)
    except (ValueError, OSError) as error:
        message = str(error)
        _promise(type(error) in (ValueError, OSError), f"a {type(error).__name__}")
        _promise(str(file) in message, "the message does not name the file")
        _promise(len(message) < _LONGEST_MESSAGE and "\n" not in message, "the message is no sentence")
        return "refused"
    names = corpus.names()
    _promise(len(names) == len(corpus) > 0, "the names are not as many as it says")
    _promise(all(0 < len(name) <= options["max_length"] for name in names), "a name that is too long, or none")
    _promise(all(name == name.strip(" \t\u3000") for name in names), "outer white space")
    _promise("".join(sorted(set("".join(names)))) == corpus.alphabet, "the alphabet is not that of the names")
    file.write_bytes(corpus.data)
    again = read_corpus(file, **options)
    _promise((again.data, again.alphabet, again.note) == (corpus.data, corpus.alphabet, ""), "it reads otherwise again")
    return "read"


def _promise(kept: bool, otherwise: str) -> None:
    if not kept:
        raise AssertionError(otherwise)


def drawn_options(generator: random.Random) -> dict[str, Any]:
    """Arguments of `read_corpus`."""
    alphabet = generator.choice([*[None] * 8, "abnoz", "".join(sorted(set("".join(_WORDS))))])
    return {
        "lowercase": generator.random() < 0.3,
        "max_length": generator.choice([64, 64, 8, 1000]),
        "alphabet": alphabet,
    }


def made(generator: random.Random) -> bytes:
    """The bytes of a file."""
    kind = generator.random()
    if kind < 0.05:
        return generator.randbytes(generator.randrange(60))
    if kind < 0.1:
        return "".join(chr(generator.randrange(0xD800)) for _ in range(generator.randrange(20))).encode()
    text = "".join(generator.choice(_WORDS) + generator.choice(_ENDS) for _ in range(generator.randrange(1, 15)))
    for _ in range(generator.choice([0, 0, 0, 0, 1, 1, 2])):
        at = generator.randrange(len(text) + 1)
        text = text[:at] + generator.choice(_PIECES) + text[at:]
    if kind < 0.105:  # past the size of a block, so that faults come in later ones
        text = f"{generator.choice(_WORDS)}{generator.choice(_ENDS)}" * generator.randrange(2_000, 12_000) + text
    encoding = generator.choice(["utf-8"] * 60 + ["utf-8-sig"] * 15 + ["utf-16", "utf-16-le", "utf-32", "latin-1"])
    content = bytearray(text.encode(encoding, errors="replace"))
    for _ in range(generator.choice([0, 0, 0, 0, 1, 1, 3])):
        damage(content, generator)
    return bytes(content)


def damage(content: bytearray, generator: random.Random) -> None:
    """Change some bytes in place."""
    at = generator.randrange(len(content) + 1)
    until = min(len(content), at + generator.choice([1, 1, 1, 2, 4, 20]))
    what = generator.randrange(5)
    if what == 0:
        content[at:until] = generator.randbytes(until - at)
    elif what == 1:
        content[at:at] = generator.randbytes(generator.choice([1, 2, 3]))
    elif what == 2:
        del content[at:until]
    elif what == 3:
        content[at:at] = content[at:until] * generator.choice([1, 2, 70])
    else:
        piece = content[at:until]
        del content[at:until]
        other = generator.randrange(len(content) + 1)
        content[other:other] = piece


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
