"""Real trainings, on the names of charlm (4,002) and of the course (32,033), and what is said about them."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from charlm.cli.trainer.verdict import Validation, Validations, WorseThanGuessing, unvalidated, verdict

TRAININGS = {
    "mlp on 4,002 names": (
        [2.602, 2.497, 2.452, 2.417, 2.391, 2.363, 2.339, 2.268, 2.19, 2.185],
        [2.629, 2.579, 2.604, 2.601, 2.621, 2.612, 2.66, 2.571, 2.574, 2.574],
        2.182,
        "Overfitting: val was 2.58 at step 2 of 10 and at best 2.57",
    ),
    "mlp on 32,033 names; 60,000 steps reach 2.126": (
        [2.441, 2.334, 2.292, 2.274, 2.259, 2.235, 2.231, 2.205, 2.144, 2.138],
        [2.352, 2.314, 2.293, 2.261, 2.246, 2.25, 2.235, 2.167, 2.16, 2.159],
        2.127,
        "Val still fell, by 0.09 since step 5,",
    ),
    "mlp on 32,033 names, 60,000 steps": (
        [2.356, 2.256, 2.23, 2.209, 2.196, 2.19, 2.18, 2.134, 2.08, 2.075],
        [2.293, 2.25, 2.224, 2.224, 2.201, 2.22, 2.215, 2.131, 2.127, 2.126],
        2.07,
        "",
    ),
    "mlp on 4,002 names at the rate 1, whose val loss is lower than at 0.1": (
        [2.707, 2.559, 2.546, 2.538, 2.536, 2.533, 2.532, 2.495, 2.441, 2.435],
        [2.616, 2.588, 2.583, 2.62, 2.575, 2.578, 2.576, 2.514, 2.515, 2.51],
        2.424,
        "",
    ),
    "mlp-fast on 4,002 names": (
        [2.5, 2.235, 2.071, 1.962],
        [2.719, 2.763, 2.778, 2.778],
        2.275,
        "Overfitting: val was best at step 1 of 4, 2.72, and rose to 2.78",
    ),
    "mlp-fast at the rate 1": (
        [41.949, 31.772, 12.34, 2.905],
        [40.813, 21.554, 3.493, 2.787],
        2.745,
        "too high: up to step 3 the training loss was above 3.30",
    ),
    "bigram on 32,033 names, which has learned all it can": (
        [2.594, 2.467, 2.455, 2.453, 2.453, 2.453, 2.453, 2.453, 2.453, 2.453],
        [2.484, 2.459, 2.456, 2.455, 2.455, 2.455, 2.455, 2.455, 2.455, 2.455],
        2.453,
        "",
    ),
}


@pytest.mark.parametrize("training", TRAININGS)
def test_it_says_what_the_losses_show_and_nothing_else(training):
    trains, vals, train, expected = TRAININGS[training]
    validations = [Validation(step, *of_step) for step, of_step in enumerate(zip(trains, vals, strict=True), 1)]
    said = verdict(validations, {"train": train, "val": min(vals)}, vocab_size=27)
    assert expected in said
    assert bool(expected) == bool(said)
    assert verdict(validations[:3], {"train": train, "val": min(vals)}, 27) == ""  # too few
    assert verdict(validations, {"train": train}, 27) == ""


def test_a_val_loss_above_guessing_needs_no_curve():
    """Of 61 names, in 2,000 steps with one validation."""
    said = verdict([Validation(2000, 0.99, 3.741)], {"train": 0.751, "val": 3.741}, vocab_size=26)
    assert said.startswith("Overfitting: val is 3.74, above 3.26, that of guessing, while train is 0.75.")


def test_a_net_that_has_learned_nothing_is_worse_than_guessing():
    """It has failed where its losses are far off, or still above guessing at a second validation."""
    far, near, validations = {"train": 9004.0, "val": 7012.0}, {"train": 3.3, "val": 3.31}, Validations()
    said = verdict([], far, vocab_size=27)
    assert "train is 9004 and val 7012, and guessing all 27 characters evenly has 3.296." in said
    assert verdict([], near, vocab_size=27).startswith("The net is worse than guessing: train is 3.3 ")
    validations.check(near, 27)
    with pytest.raises(WorseThanGuessing, match="its lowest loss since the first validation is 7012, and guessing"):
        validations.check(far, 27)
    validations.all = [Validation(1, 3.2, 3.31), Validation(2, 3.3, 3.31)]
    with pytest.raises(WorseThanGuessing, match=r"is 3\.3, and guessing all 27 characters evenly"):
        validations.check(near, 27)


def test_steps_after_the_last_validation_are_named():
    seen = [Validation(step, 2.0, 2.0) for step in (500, 1000)]
    assert unvalidated(seen, 1300).startswith(
        "Training ended at step 1,300, and its last validation was at step 1,000:"
    )
    assert "Give a lower --trainer.val_check_interval to" in unvalidated(seen, 1300)
    assert "Give a lower --trainer.check_val_every_n_epoch to" in unvalidated(seen, 1300, epochs=2)
    assert (unvalidated(seen, 1000), unvalidated([], 1300)) == ("", "")


def test_a_resumed_training_knows_its_first_validations():
    first, resumed = Validations(), Validations()
    first.all = [Validation(2, 2.5, 2.6)]
    resumed.load_state_dict(first.state_dict())
    assert resumed.all == first.all


def test_the_verdict_is_in_the_report_and_on_the_text_tab(cli, small):
    options = ["--trainer.max_steps=8", "--trainer.val_check_interval=2", "--model.lr=0.5", "--data.split_seed=1"]
    said = cli("fit", "--config", small, *options).out.split("\n\n")[2].replace("\n", " ")
    assert "and is as low as train: train longer (--trainer.max_steps" in said
    found = EventAccumulator("lightning_logs/001-run").Reload().Tensors("verdict/text_summary")
    assert [(event.step, event.tensor_proto.string_val[0].decode()) for event in found] == [(7, said)]


def test_nothing_is_said_of_the_length_of_a_training_that_patience_has_ended(cli, small):
    patience = ["monitor=loss/val", "mode=max", "patience=3"]  # by which falling losses get worse
    stop = ["--trainer.callbacks+=EarlyStopping", *(f"--trainer.callbacks.{word}" for word in patience)]
    options = ["--trainer.max_steps=9", "--trainer.val_check_interval=2", "--model.lr=0.5", "--data.split_seed=1"]
    out = cli("fit", "--config", small, *options, *stop).out
    assert "(step 8)" in out
    assert "train longer" not in out


def test_a_monitor_that_is_not_logged_is_told_with_the_names_that_are(cli, small):
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val_loss"]
    done = cli("fit", "--config", small, "--trainer.max_steps=4", "--trainer.val_check_interval=2", *stop)
    assert done.status == 2
    assert "`val_loss` which is not available" in done.err
    assert "`loss/val`" in done.err
