"""Trainings that are killed or stopped by a signal go on as if nothing had happened, to the bit."""

import re
import shutil
import signal
import time

import pytest


@pytest.fixture(scope="module")
def killloop(forking):
    return forking("killloop")


@pytest.fixture(scope="module")
def left_alone(killloop, tmp_path_factory):
    """A training by the options of killloop.py that is left alone; the options, and where it is."""
    place = tmp_path_factory.mktemp("loop")
    options = [*killloop.MODEL, *killloop.RECORDER, "--seed_everything=3", "--trainer.max_steps=700"]
    killloop.Training(place / "alone", options).wait_for_end()
    return options, place


def faults(killloop, place):
    figures = killloop.compare(place)
    return {name: figures[name] for name in killloop.FAULTS if figures[name]}


def test_points_that_readers_get_more_often_or_not_at_all_are_faults_of_a_resumed_run(script):
    other_points, expected = script("compare_runs").other_points, {"epoch": (1, 1, 2), "lr": (1, 2)}
    assert other_points(expected, {"epoch": (1, 2), "lr": (1, 2)}) == set()
    assert other_points(expected, {"epoch": (1, 1, 1, 2), "lr": (1,), "other": (3,)}) == {"epoch", "lr", "other"}


@pytest.mark.slow
def test_a_run_that_is_killed_five_times_goes_on_to_the_bit(killloop, left_alone):
    options, place = left_alone
    assert killloop.killed_again(place / "killed", options, seed=1, kills=5, longest=4.0) > 0
    assert faults(killloop, place) == {}
    shutil.rmtree(place / "killed")


@pytest.mark.slow
def test_a_run_that_is_stopped_by_a_signal_says_how_to_go_on_and_does_so_to_the_bit(killloop, left_alone):
    options, place = left_alone
    killed = place / "killed"
    first = killloop.Training(killed, options)
    records = killed / "records.jsonl"
    while not records.is_file() or records.stat().st_size < 20_000:
        assert first.process.poll() is None, (killed / "log.txt").read_text()
        time.sleep(0.01)
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait() == 143
    log = (killed / "log.txt").read_text()
    assert re.search(r"SIGTERM.*Stopped after \d+ steps. Go on with:\n.*fit --resume 001-rnn\S*\n$", log, re.DOTALL)
    killloop.Training(killed, options).wait_for_end()
    assert faults(killloop, place) == {}
    assert killloop.compare(place)["repeated"] == 0, "no step was lost"
    shutil.rmtree(killed)
