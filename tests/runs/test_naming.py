"""What runs are called, and how they are found by it."""

import subprocess
import sys

import pytest

from charlm.runs.naming import check_name, claim_run, find_run, place_of, words_of


@pytest.fixture
def runs(tmp_path):
    """Runs of an older charlm and of this one, and what are no runs."""
    for name in ("version_0", "version_11", "012-mlp-lr0.3", "013-my-try", "014", "lr-find", "day08", "2-x"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_run_is_found_by_its_name_its_number_and_its_words_unless_several_have_them(runs):
    named = {"12": "012-mlp-lr0.3", "mlp-lr0.3": "012-mlp-lr0.3", "012": "012-mlp-lr0.3", "my-try": "013-my-try"}
    named |= {"013-my-try": "013-my-try", "0": "version_0", "11": "version_11", "version_0": "version_0"}
    assert {name: find_run(name, runs).name for name in named} == named
    assert [find_run(name, runs) for name in ("", "7", "14", "mlp", "..", ".", "lr-find/", "2")] == [None] * 8
    assert place_of(runs / "day08", runs) == runs / "day08"
    assert place_of("nowhere", runs).name == "nowhere"
    assert place_of("my-try", runs) == runs / "013-my-try"
    assert (words_of(runs / "012-mlp-lr0.3"), words_of(runs / "version_0")) == ("mlp-lr0.3", "")
    (runs / "020-my-try").mkdir()
    with pytest.raises(ValueError, match="my-try may be any of the runs 013-my-try, 020-my-try; give its whole name"):
        find_run("my-try", runs)
    assert find_run("20", runs) == runs / "020-my-try"


def test_a_new_run_has_the_next_number_even_after_a_kill_that_left_a_bare_one(runs):
    assert claim_run(runs, "a") == "015-a"
    assert claim_run(runs / "new", "a") == "001-a"
    (runs / "999-b").mkdir()
    assert claim_run(runs, "a") == "1000-a"
    assert find_run("1000", runs).name == "1000-a"


@pytest.mark.parametrize(
    "name", ["", "7", "007", "a/b", "..", "a b", "a.", "x" * 41, "version_3", "001-a", "auto", "_"]
)
def test_what_could_not_be_a_runs_name_is_refused(name):
    with pytest.raises(ValueError, match=r"--name is '.*; give at most 40 letters"):
        check_name(name)
    check_name("my-try_2.5")
    check_name("проба")


def test_runs_that_start_at_once_get_a_number_each(tmp_path):
    """Four processes that take twenty numbers each, under different names."""
    code = "import sys; from pathlib import Path; from charlm.runs.naming import claim_run; input()\n"
    code += "print(*[claim_run(Path(sys.argv[1]), sys.argv[2]) for _ in range(20)])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", code, str(tmp_path / "runs")]
    processes = [subprocess.Popen([*command, f"p{number}"], **pipes) for number in range(4)]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    names = [name for process in processes for name in process.communicate(timeout=60)[0].split()]
    assert sorted(int(name.split("-")[0]) for name in names) == list(range(1, 81))
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(names)
