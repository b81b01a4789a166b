"""What scripts/mutants.py changes, and that scripts/mutate.py tells a fault that the tests see from one they do not."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = '''"""A text about it."""

import os

LIMIT: int = 3


@decorated(size=1)
def f(x: "int", most=5) -> bool:
    """What it does."""
    if not x or x < most:
        raise ValueError(f"{x} is less than {most + 1}")
    x.kept = [ö for ö in "ab" if ö]
    return x << 1


if TYPE_CHECKING:
    import that
print("two words", "one")
'''
CHANGED = """
5: 3 -> (4)
9: 5 -> (6)
11: not x or x < most -> (not x and x < most)
11: not x or x < most -> (not (not x or x < most))
11: not x -> (x)
11: x < most -> (x <= most)
12: raise ValueError(f"{x} is less than {most + 1}") -> pass
13: x.kept = [ö for ö in "ab" if ö] -> pass
13: "ab" -> ('Xab')
13: ö -> (not (ö))
14: return x << 1 -> return None
14: x << 1 -> (x >> 1)
14: 1 -> (2)
19: print("two words", "one") -> pass
19: "two words" -> ('Xtwo words')
19: "one" -> ('Xone')
"""


def test_every_change_is_one_that_a_test_could_see(script):
    mutants = list(script("mutants").mutants_of("f.py", SOURCE.encode()))
    found = sorted(f"{mutant.line}: {mutant.old} -> {mutant.new}" for mutant in mutants)
    assert found == sorted(CHANGED.strip().splitlines())
    for mutant in mutants:
        source = SOURCE.encode()
        assert source[mutant.start : mutant.stop].decode() == mutant.old
        compile(source[: mutant.start] + mutant.new.encode() + source[mutant.stop :], "f.py", "exec")


LINES = {  # those of which one runs where a change of this line is met
    5: range(1, 20),  # a constant of the file: all
    9: range(9, 15),  # a default: its function's
    11: range(11, 12),  # the head of a statement
    12: range(12, 13),
    13: range(13, 14),
    14: range(14, 15),
    19: range(1, 20),
}


def test_a_change_is_met_where_its_lines_run(script):
    for mutant in script("mutants").mutants_of("f.py", SOURCE.encode()):
        assert mutant.lines == LINES[mutant.line]


def test_tests_about_a_file_come_first_and_those_of_other_lines_not_at_all(script):
    of_lines = {"a.py": {"1": [0, 1], "2": [0, 2]}, "b.py": {"1": [1], "2": [1], "3": [2, 1]}}
    suite = script("covered").Suite(
        {"all": 9.0, "mostly b": 1.0, "half": 1.0}, of_lines, {"all": 2, "mostly b": 4, "half": 2}
    )
    assert suite.tests_of("a.py", range(1, 3)) == ["all", "half", "mostly b"]
    assert suite.tests_of("a.py", range(1, 2)) == ["all", "mostly b"]
    assert suite.tests_of("b.py", range(3, 4)) == ["mostly b", "half"]
    assert suite.tests_of("c.py", range(9)) == []


@pytest.mark.slow
def test_the_score_is_of_what_the_tests_notice(python, tmp_path):
    """Tests of the tokenizer see all that is wrong with it; nothing sees what is wrong with lines that no test runs."""
    files, tests = "[charlm/data/shuffle.py,charlm/tokenizer.py]", "tests/test_tokenizer.py"
    line = ["--mutants=6", "--seed=3", "--jobs=1", f"--tests=[{tests}]", f"--suite={tmp_path / 'suite.json'}"]
    done = python("scripts/mutate.py", f"--files={files}", *line, cwd=ROOT, timeout=280)
    assert done.returncode == 0, done.stderr
    drawn = dict(re.findall(r"^charlm/(\S+): (\d+ of \d+) killed$", done.stdout, re.M))
    assert drawn == {"data/shuffle.py": "0 of 2", "tokenizer.py": "4 of 4"}
    assert "6 drawn, 4 killed, 2 survived: score 66.7%" in done.stdout
    assert f"{tests}::" in (tmp_path / "suite.json").read_text()
