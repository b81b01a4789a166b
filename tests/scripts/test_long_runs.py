"""The scripts that measure for long what nobody waits for, for seconds."""

from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
pytestmark = pytest.mark.slow


def test_trainings_that_start_at_once_leave_a_run_each(forking, capsys):
    parallel_runs = forking("parallel_runs")
    with pytest.raises(SystemExit) as end:
        parallel_runs.main(at_once=3, times=1)
    counted = capsys.readouterr().out
    assert counted == "3 trainings, 3 run directories, 3 whole and of one training, 0 failed\n"
    assert end.value.code == 0


def test_a_process_that_trains_again_and_again_keeps_no_files(python):
    done = python(SCRIPTS / "reliability" / "soak.py", "--minutes=0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("4 rounds in 0 minutes: ")
    assert done.stdout.endswith(" +0 open files, 0 stray files, 0 runs differing\n")
