"""What scripts/mutants.py changes, and that scripts/mutate.py tells a fault that the tests see from one they do not."""

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
"""


def test_every_change_is_one_that_a_test_could_see(script):
    mutants = list(script("mutants").mutants_of("f.py", SOURCE.encode()))
    found = sorted(f"{mutant.line}: {mutant.old} -> {mutant.new}" for mutant in mutants)
    assert found == sorted(CHANGED.strip().splitlines())
    for mutant in mutants:
        source = SOURCE.encode()
        assert source[mutant.start : mutant.stop].decode() == mutant.old
        compile(source[: mutant.start] + mutant.new.encode() + source[mutant.stop :], "f.py", "exec")


@pytest.mark.slow
def test_the_score_is_of_what_the_tests_notice(python):
    """Tests of the tokenizer see all that is wrong with it; those of something else see nothing."""
    for tests, mutants, score in (
        ("tests/test_tokenizer.py", 3, "3 killed, 0 survived: score 100.0%"),
        ("tests/data/test_shuffle.py", 1, "0 killed, 1 survived: score 0.0%"),
    ):
        line = ["scripts/mutate.py", "--files=[charlm/tokenizer.py]", f"--mutants={mutants}", f"--tests=[{tests}]"]
        done = python(*line, cwd=ROOT, timeout=280)
        assert done.returncode == 0, done.stderr
        assert score in done.stdout
