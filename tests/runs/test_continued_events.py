"""A run that was killed after a validation amid an accumulation, and goes on, as TensorBoard reads it."""

import re
import time

import numpy as np
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator

from charlm.runs.events import read_scalars
from charlm.runs.logger import RunLogger, log_later

CHECKPOINT = 2  # optimizer steps


def log(logger, val, step):
    logger.log_metrics({"loss/val": val}, step)
    logger.experiment.add_text("samples", "emma", step)
    logger.experiment.add_image("picture", np.zeros((3, 2, 2)), step)


def life(root, resumed=None, config="lr: 1"):
    logger = RunLogger(root, version=None if resumed is None else "001-run", resumed=resumed)
    logger.experiment.add_text("config", config, 0)
    if resumed is None:
        log(logger, 1.0, 1)
        log(logger, 0.5, CHECKPOINT)
    saved = time.time()
    time.sleep(0.01)
    log(logger, 0.25, CHECKPOINT)  # another one of the same step, or its repetition
    log(logger, 0.125, CHECKPOINT + 1)
    logger.save()
    return saved


def steps(root, reader, kind, tag):
    every = {"scalars": 0, "tensors": 0, "images": 0}
    events = reader.EventAccumulator(str(root / "lightning_logs" / "001-run"), size_guidance=every).Reload()
    return [event.step for event in getattr(events, kind)(tag)]


def read(root):
    old, new = event_accumulator, plugin_event_accumulator
    found = [(old, "Scalars", "loss/val"), (old, "Tensors", "samples/text_summary"), (old, "Images", "picture")]
    found += [(new, "Tensors", "loss/val"), (new, "Tensors", "samples/text_summary"), (new, "Tensors", "picture")]
    return [steps(root, *each) for each in found]


def test_each_point_is_there_once_however_often_it_is_killed(tmp_path):
    saved = life(tmp_path)
    unbroken = read(tmp_path)
    run = tmp_path / "lightning_logs" / "001-run"
    curve = read_scalars(run, bool).curves["loss/val"]
    assert unbroken == [[1, 2, 2, 3]] * 6
    for _ in range(3):
        life(tmp_path, (CHECKPOINT, saved))
        assert read(tmp_path) == unbroken
        assert np.array_equal(read_scalars(run, bool).curves["loss/val"], curve)
    for reader in (event_accumulator, plugin_event_accumulator):
        assert steps(tmp_path, reader, "Tensors", "config/text_summary") == [0]
    life(tmp_path, (CHECKPOINT, saved), config="lr: 2")
    assert steps(tmp_path, event_accumulator, "Tensors", "config/text_summary") == [0, 0], "another one is said"


def test_what_a_training_logs_at_its_start_is_there_once_if_it_was_stopped_in_its_first_step(tmp_path):
    for resumed in (None, (0, time.time() + 9)):
        logger = RunLogger(tmp_path, version=None if resumed is None else "001-run", resumed=resumed)
        logger.experiment.add_text("config", "lr: 1", 0)
        logger.log_metrics({"samples/new": 0.5}, 0)
        logger.log_metrics({"loss/val": 3.0 if resumed is None else 2.0}, 0)
        logger.save()
    tags = ("config/text_summary", "samples/new", "loss/val")
    assert [steps(tmp_path, plugin_event_accumulator, "Tensors", tag) for tag in tags] == [[0], [0], [0, 0]]


def test_nothing_is_lost_where_the_clock_was_set_back(tmp_path):
    saved = life(tmp_path)
    unbroken, (file,) = read(tmp_path), (tmp_path / "lightning_logs" / "001-run").glob("events*")
    file.rename(file.with_name(re.sub(r"tfevents.\d+", "tfevents.9000000000", file.name)))
    for _ in range(2):
        life(tmp_path, (CHECKPOINT, saved))
        assert read(tmp_path) == unbroken


def test_what_cannot_be_read_stays_in_its_file(tmp_path):
    saved = life(tmp_path)
    (file,) = (tmp_path / "lightning_logs" / "001-run").glob("events*")
    file.write_bytes(file.read_bytes() + b"cut")
    life(tmp_path, (CHECKPOINT, saved))
    assert file.read_bytes().endswith(b"cut")
    assert read(tmp_path)[0] == [1, 2, 2, 3]


def test_a_loss_that_is_added_later_stands_once(tmp_path):
    life(tmp_path)
    for loss in (0.5, 0.5000001):
        log_later(tmp_path / "lightning_logs" / "001-run", {"loss/test": loss}, 3)
    assert steps(tmp_path, event_accumulator, "Scalars", "loss/test") == [3]


def test_a_checkpoint_of_an_unknown_time_begins_its_step_anew(tmp_path):
    life(tmp_path)
    life(tmp_path, (CHECKPOINT, 0.0))
    assert read(tmp_path) == [[1, 2, 3]] * 6
