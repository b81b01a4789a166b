"""The scripts that measure for long what nobody waits for, for seconds."""

import json
from pathlib import Path

import pytest
import torch

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


def test_a_drawn_case_is_stopped_and_resumed_and_a_difference_would_be_seen(forking, script, tmp_path):
    forking("killloop")
    combinations, compare_runs = script("combinations"), script("compare_runs")
    assert combinations.Case.drawn(1) == combinations.Case.drawn(1) != combinations.Case.drawn(2)
    combinations.write_lists(tmp_path)
    options = "--config=mlp --data.path={folder}/40.csv --data.column=name --trainer.max_steps=12"
    options += " --trainer.val_check_interval=4 --trainer.check_val_every_n_epoch=null"
    case = combinations.Case(options, ("train_batch_end 7 SIGKILL", "validation_end 8 SIGTERM"))
    assert case.outcome(tmp_path, tmp_path) == ("same", [])
    alone, stopped = (compare_runs.run_in(tmp_path / name) for name in ("alone", "stopped"))
    state = torch.load(stopped / "checkpoints" / "last.ckpt", weights_only=True)
    state["state_dict"]["net.hidden.bias"][0] += 1
    torch.save(state, stopped / "checkpoints" / "last.ckpt")
    results = json.loads((stopped / "results.json").read_text())
    (stopped / "results.json").write_text(json.dumps(results | {"val": 9.0}))
    (stopped / "embedding_pca.npz").write_bytes(b"")
    for events in stopped.glob("events*"):
        events.unlink()
    found = compare_runs.differences(alone, stopped)
    assert found[:3] == ["last.ckpt /state_dict/net.hidden.bias", "results.json val", "embedding_pca.npz"]
    assert {"event_accumulator scalars loss/val", "plugin_event_accumulator tensors loss/val"} < set(found[3:])
