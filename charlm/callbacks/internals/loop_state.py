"""Where Lightning's training loop stands, as a checkpoint holds it, and how a new process continues from there.

Lightning 2.6 infers from its counters in which hook a checkpoint was saved. At the last batch of an epoch it is wrong:
a training that is resumed twice can get longer, a validation that was due is left out, and logged steps are counted
twice. Here the loop state is written down instead: whether the checkpoint was saved between two iterations, or which
part of the iteration is still to come. The counters in the checkpoint are set to a state without an unfinished part.
"""

from collections.abc import Callable
from typing import Any, Literal

from lightning.pytorch import Trainer
from lightning.pytorch.loops.fit_loop import RestartStage

Pending = Literal["nothing", "rest of iteration", "rest of iteration but validation"]
_EPOCHS, _BATCHES = "epoch_progress", "epoch_loop.batch_progress"


def save_loop_state(trainer: Trainer, loops: dict[str, Any]) -> dict[str, Any]:
    """Where `trainer` stands, as plain values; writes the same into `loops`, the counters of a checkpoint.

    Args:
        trainer: in training, in a hook where checkpoints are saved.
        loops: the entry "loops" of the checkpoint that is being made.

    Returns:
        {"pending": what of the iteration is still to come, "inside": whether an epoch has begun and not ended,
        "stepped": steps of the loggers, "stop": whether the training was told to end}.
    """
    loop, counters = trainer.fit_loop.epoch_loop, loops["fit_loop"]
    epochs, batches = counters[_EPOCHS], counters[_BATCHES]
    pending: Pending = "nothing"
    if trainer.validating:
        pending = "rest of iteration but validation"
    elif batches["current"]["completed"] < batches["current"]["ready"]:
        pending = "rest of iteration"
    done = epochs["current"]["processed"] == epochs["current"]["ready"]
    whole = batches["is_last_batch"] or batches["current"]["ready"] >= trainer.num_training_batches
    inside = not done or (batches["current"]["ready"] > 0 and not whole)  # or cut, by max_steps or an early stop
    for span in ("total", "current"):
        begun = epochs[span]["ready"]
        epochs[span] |= {"started": begun, "processed": begun - inside, "completed": begun - inside}
        seen = 0 if span == "current" and not inside else batches[span]["ready"]
        batches[span] |= dict.fromkeys(batches[span], seen)
    batches["is_last_batch"] = bool(inside and batches["is_last_batch"])
    return {
        "pending": pending,
        "inside": inside,
        "stepped": loop._batches_that_stepped,
        "stop": bool(trainer.should_stop),
    }


def restore_loop_state(
    trainer: Trainer, place: dict[str, Any], loops: dict[str, Any], arrive: Callable[[], None]
) -> None:
    """Let the loop that is about to start go on at `place`.

    Args:
        trainer: in `on_train_start`, resumed from the checkpoint that `place` is of.
        place: what `save_loop_state` gave.
        loops: the counters in that checkpoint.
        arrive: called when the loop has arrived there, before anything else is done.
    """
    fit, loop = trainer.fit_loop, trainer.fit_loop.epoch_loop
    counters = loops["fit_loop"]

    def on_advance_start() -> None:
        del vars(fit)["on_advance_start"]
        fit.epoch_progress.load_state_dict(counters[_EPOCHS])
        fit._restarting = False
        fit._restart_stage = RestartStage.RESTARTED_MID_EPOCH if place["inside"] else RestartStage.NONE
        if not place["inside"]:  # as after any epoch: a new iterator, counters from 0
            fit._resuming_from_checkpoint = loop.restarting = False
            loop.batch_progress.load_state_dict(counters[_BATCHES])
            loop._batches_that_stepped = place["stepped"]
            arrive()
        fit.on_advance_start()

    def on_run_start(fetcher: Any) -> None:
        del vars(loop)["on_run_start"]
        loop.on_run_start(fetcher)
        loop.restarting = False
        loop.batch_progress.load_state_dict(counters[_BATCHES])
        loop._batches_that_stepped = place["stepped"]
        arrive()
        trainer.should_stop |= place["stop"]
        if place["pending"] != "nothing":
            loop._skip_next_val = place["pending"] == "rest of iteration but validation"
            loop.on_advance_end(fetcher)

    if place["stop"] and place["pending"] == "nothing":  # it had ended, and its epoch too
        trainer.should_stop = True
    vars(fit)["on_advance_start"] = on_advance_start
    if place["inside"]:
        vars(loop)["on_run_start"] = on_run_start
        if (
            fit._combined_loader_states_to_load
        ):  # the loaders were made before the checkpoint was read, for their length
            fit._load_combined_loader_states()
            iter(fit._data_fetcher)  # type: ignore[arg-type]  # there is one, as training starts


def cancel_restore(trainer: Trainer) -> None:
    """Give the loops their own methods back, where training has ended before it began; again it changes nothing."""
    vars(trainer.fit_loop).pop("on_advance_start", None)
    vars(trainer.fit_loop.epoch_loop).pop("on_run_start", None)
