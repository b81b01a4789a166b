"""The short run of scripts/reliability/fuzz_names.py, and that it sees a fault."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_damaged_names_files_are_read_clean_or_refused_in_a_sentence(tmp_path):
    line = [
        sys.executable,
        "scripts/reliability/fuzz_names.py",
        "--inputs=3000",
        "--seed=1",
        f"--out={tmp_path / 'faults'}",
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=280)
    counts = re.match(r"3,000 files: ([\d,]+) read, ([\d,]+) refused; 0 faults\n[\d,]+ files a second, ", done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    read, refused = (int(count.replace(",", "")) for count in counts.groups())
    assert read + refused == 3000
    assert min(read, refused) > 500, "hardly one of them is on the other side"


def reads_more(corpus):
    return lambda file, **options: corpus(file, **{**options, "max_length": 10**6})


def knows_too_little(corpus):
    return lambda file, **options: {}[file]


@pytest.mark.parametrize("broken", [reads_more, knows_too_little])
def test_a_reader_that_breaks_a_rule_is_found_out(broken, script, tmp_path, monkeypatch):
    fuzz = script("fuzz_names")
    (tmp_path / "names.txt").write_text("anna\n" + "b" * 100 + "\n")
    options = {"lowercase": False, "max_length": 64, "alphabet": None}
    assert fuzz.tried(tmp_path / "names.txt", options) == "refused"
    monkeypatch.setattr(fuzz, "read_corpus", broken(fuzz.read_corpus))
    with pytest.raises((AssertionError, KeyError)):
        fuzz.tried(tmp_path / "names.txt", options)
