"""Where Lightning's training loop stands, as a checkpoint holds it, and how a new process continues from there.

Lightning 2.6 infers from its counters in which hook a checkpoint was saved. At the last batch of an epoch it is wrong:
a training that is resumed twice can get longer, a validation that was due is left out, and logged steps are counted
twice. Here the loop state is written down instead: whether the checkpoint was saved between two iterations, or which
part of the iteration is still to come. The counters in the checkpoint are set to a state without an unfinished part.
"""

from collections.abc import Callable
from typing import Any, Literal

from charlm.callbacks.internals.lightning import EarlyStopping, RestartStage, Timer, Trainer
from charlm.callbacks.internals.trainer_attributes import callbacks_of

Pending = Literal["nothing", "rest of iteration", "rest of iteration but validation"]
_EPOCHS, _BATCHES = "epoch_progress", "epoch_loop.batch_progress"


def save_loop_state(trainer: Trainer, loops: dict[str, Any]) -> dict[str, Any]:
    """The state of the loop as plain values; writes the same state into `loops`.

    Args:
        trainer: in training, in a hook where checkpoints are saved.
        loops: the entry "loops" of the checkpoint that is being made, with Lightning's counters.

    Returns:
        {"pending": the part of the iteration that is still to come, "inside": whether the checkpoint is from within an
        epoch, "stepped": Lightning's count of logged steps, "stop": whether training was told to stop, "plateau":
        whether the step of plateau schedulers is still to come that follows the hooks of an epoch's end}.
    """
    counters = loops["fit_loop"]
    epochs, batches = counters[_EPOCHS], counters[_BATCHES]
    pending: Pending = "nothing"
    if trainer.validating:
        pending = "rest of iteration but validation"
    elif batches["current"]["completed"] < batches["current"]["ready"]:
        pending = "rest of iteration"
    done = epochs["current"]["processed"] == epochs["current"]["started"]
    whole = batches["is_last_batch"] or batches["current"]["ready"] >= trainer.num_training_batches
    inside = not done or (batches["current"]["ready"] > 0 and not whole)  # or max_steps or an early stop has cut it
    plateau = not inside and epochs["current"]["completed"] < epochs["current"]["processed"]
    for span in ("total", "current"):
        begun = epochs[span]["started"]
        epochs[span] |= {"ready": begun, "processed": begun - inside, "completed": begun - inside}
        seen = 0 if span == "current" and not inside else batches[span]["ready"]
        batches[span] |= dict.fromkeys(batches[span], seen)
    batches["is_last_batch"] = bool(inside and batches["is_last_batch"])
    stepped = trainer.fit_loop.epoch_loop._batches_that_stepped
    return {
        "pending": pending,
        "inside": inside,
        "stepped": stepped,
        "stop": trainer.should_stop,
        "plateau": plateau,
    }


def save_resumable_counters(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Correct the counters of a checkpoint that is saved between two iterations, so that Lightning resumes it too.

    It would train one batch too many after the last batch of an epoch, and count an epoch that `max_steps` has cut as
    complete.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress.current
    if batches.completed == batches.ready and not trainer.validating:
        save_loop_state(trainer, checkpoint["loops"])


def count_resumed_epoch(trainer: Trainer) -> None:
    """Count the epoch that a training resumes with as begun; called in `on_train_start`.

    From a checkpoint that was saved in a hook of an epoch's last batch Lightning goes on within the next epoch, but
    counts one too few as begun, for all of the training.
    """
    fit = trainer.fit_loop
    now: Any = fit.epoch_progress.current  # its class has more counters than its declaration
    if fit.restarted_mid_epoch and now.processed == now.ready:
        fit.epoch_progress.increment_ready()
        fit.epoch_progress.increment_started()
        fit.epoch_loop.automatic_optimization.optim_progress.reset_on_run()  # as the epoch does when it starts


def was_stopped_early(trainer: Trainer, states: dict[str, Any]) -> bool:
    """Whether an EarlyStopping that is still there had stopped a training, by its callbacks' `states`."""
    own = [states.get(stop.state_key, {}) for stop in callbacks_of(trainer) if isinstance(stop, EarlyStopping)]
    # by the reason; where that is another process's, by the epoch
    return any(state.get("stopping_reason_message") or state.get("stopped_epoch") for state in own)


def time_is_up(trainer: Trainer) -> bool:
    """Whether `max_time` is used up. A resumed training asks this anew, since it may have another limit."""
    callbacks = callbacks_of(trainer)
    left = [timer.time_remaining() for timer in callbacks if isinstance(timer, Timer)]
    return any(seconds is not None and seconds <= 0 for seconds in left)


def restore_loop_state(
    trainer: Trainer, state: dict[str, Any], loops: dict[str, Any], restored: Callable[[], None]
) -> None:
    """Let the loop that is about to start continue from `state`.

    Two methods of the loops, which run before the first epoch and before its first batch, are replaced for one call.

    Args:
        trainer: in `on_train_start`, resumed from the checkpoint that holds `state`.
        state: what `save_loop_state` gave.
        loops: the counters in that checkpoint.
        restored: called when the loop is in that state, before it does anything else.
    """
    _call_once(trainer.fit_loop, "on_advance_start", lambda: _enter_epoch(trainer, state, loops["fit_loop"], restored))
    if state["inside"]:
        _call_once(
            trainer.fit_loop.epoch_loop,
            "on_run_start",
            lambda fetcher: _enter_batches(trainer, state, loops["fit_loop"], restored, fetcher),
        )
        fit = trainer.fit_loop
        if fit._combined_loader_states_to_load:  # the loaders were made before the checkpoint was read
            fit._load_combined_loader_states()
            iter(fit._data_fetcher)  # type: ignore[arg-type]  # it is there when training starts


def cancel_restore(trainer: Trainer) -> None:
    """Restore the loops' own methods where training ends before it has begun; a second call changes nothing."""
    vars(trainer.fit_loop).pop("on_advance_start", None)
    vars(trainer.fit_loop.epoch_loop).pop("on_run_start", None)


def _call_once(loop: Any, name: str, method: Callable[..., None]) -> None:
    """Replace a method of one loop for its next call."""

    def call(*arguments: Any) -> None:
        del vars(loop)[name]
        method(*arguments)

    vars(loop)[name] = call


def _enter_epoch(
    trainer: Trainer, state: dict[str, Any], counters: dict[str, Any], restored: Callable[[], None]
) -> None:
    fit = trainer.fit_loop
    fit.epoch_progress.load_state_dict(counters[_EPOCHS])
    fit._restarting = False
    fit._restart_stage = RestartStage.RESTARTED_MID_EPOCH if state["inside"] else RestartStage.NONE
    if not state["inside"]:  # as after any epoch: a new iterator, counters from 0
        fit._resuming_from_checkpoint = False
        _set_counters(trainer, state, counters)
        restored()
        if state.get("plateau"):  # which older checkpoints lack
            epochs: Any = fit.epoch_progress.current
            epochs.completed -= 1  # the schedulers' frequency counts the epoch that has ended
            fit.epoch_loop.update_lr_schedulers("epoch", update_plateau_schedulers=True)
            epochs.completed += 1
    fit.on_advance_start()


def _enter_batches(
    trainer: Trainer, state: dict[str, Any], counters: dict[str, Any], restored: Callable[[], None], fetcher: Any
) -> None:
    loop = trainer.fit_loop.epoch_loop
    loop.on_run_start(fetcher)
    _set_counters(trainer, state, counters)
    restored()
    trainer.should_stop |= state["stop"]
    if state["pending"] != "nothing":
        loop._skip_next_val = state["pending"] == "rest of iteration but validation"
        loop.on_advance_end(fetcher)


def _set_counters(trainer: Trainer, state: dict[str, Any], counters: dict[str, Any]) -> None:
    loop = trainer.fit_loop.epoch_loop
    loop.restarting = False
    loop.batch_progress.load_state_dict(counters[_BATCHES])
    loop._batches_that_stepped = state["stepped"]
