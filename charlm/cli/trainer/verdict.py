"""What a colleague would say about a training after one look at its losses."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from charlm.callbacks.shared.logger_adapters import send_text, tell
from charlm.callbacks.shared.progress import logged_step
from charlm.callbacks.shared.trainer_state import is_of_fit

_FEWEST = 4  # validations without which nothing is said of a curve
_STANDS = 0.05  # nats: a loss that falls by less stands still
_LEARNABLE = 0.04  # nats: val that is at most so far above train can still gain what train gains


class WorseThanGuessing(ArithmeticError):
    """No loss of a training was below that of guessing all characters evenly."""

    exit_status = 4
    """Of `charlm fit`."""


@dataclass(frozen=True)
class Validation:
    """The losses at a validation, in nats per character.

    Args:
        step: optimizer steps so far.
        train: the mean training loss since the validation before; 0 where the model does not log it.
        val: the validation loss.
    """

    step: int
    train: float
    val: float


class Validations(Callback):
    """Keep the losses of all validations of a training, also of one that is resumed."""

    def __init__(self) -> None:
        self.all: list[Validation] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_of_fit(trainer):
            train, val = (float(trainer.callback_metrics.get(tag, 0.0)) for tag in ("loss_mean/train", "loss/val"))
            self.all.append(Validation(trainer.global_step, train, val))

    def state_dict(self) -> dict[str, Any]:
        return {"all": [list(astuple(each)) for each in self.all]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.all = [Validation(*each[:3]) for each in state_dict["all"]]  # earlier versions had a fourth

    def check(self, losses: Mapping[str, float], vocab_size: int) -> None:
        """Refuse a training that has learned nothing since its first validation.

        Overfitting alone raises the losses of the validations, so the training losses count as well. With less than two
        validations, nets that have hardly begun may still be a little above guessing.

        Args:
            losses: of the weights that were kept, on each split, in nats per character.
            vocab_size: V, the number of characters and one more.

        Raises:
            WorseThanGuessing: it has not.
        """
        seen = [*losses.values(), *(each.val for each in self.all), *(each.train for each in self.all[1:])]
        lowest, evenly = min(seen, default=0.0), math.log(vocab_size)
        if lowest > (evenly if len(self.all) > 1 else 2 * evenly):
            raise WorseThanGuessing(
                f"training has failed: its lowest loss since the first validation is {lowest:.4g}, and guessing all"
                f" {vocab_size} characters evenly has {evenly:.4f}; take a lower learning rate (--model.lr)"
            )


def log_verdict(trainer: Trainer, text: str) -> None:
    """Send a verdict to the loggers of a training that has ended."""
    tell("charlm fit", send_text(trainer, text, "verdict", logged_step(trainer)), set())
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.close()


def unvalidated(validations: Sequence[Validation], steps: int, epochs: int | None = None) -> str:
    """A sentence about the steps after the last validation, which best.ckpt cannot come from; "" if there are none.

    Args:
        validations: all of them, in their order.
        steps: optimizer steps of the training.
        epochs: between two validations; None: epochs are not counted.
    """
    option = "--trainer.val_check_interval" if epochs in (None, 1) else "--trainer.check_val_every_n_epoch"
    last = validations[-1].step if validations else steps
    if last >= steps:
        return ""
    return (
        f"Training ended at step {steps:,}, and its last validation was at step {last:,}: the final weights, in"
        f" last.ckpt, were not validated. Give a lower {option} to validate them, too."
    )


def verdict(validations: Sequence[Validation], losses: Mapping[str, float], vocab_size: int) -> str:
    """One or two sentences about a training, or "" where nothing is to be said.

    The limits in the rules are from 50 trainings of six nets on lists of 4,002 and 32,033 names;
    tests/cli/trainer/test_verdict.py has some of them.

    Args:
        validations: all of them, in their order.
        losses: of the weights that were kept, on each split, in nats per character.
        vocab_size: V, the number of characters and one more.
    """
    if not {"train", "val"} <= losses.keys():
        return ""
    train, val, guessing = losses["train"], losses["val"], math.log(vocab_size)
    if train < guessing < val:
        return (
            f"Overfitting: val is {val:.2f}, above {guessing:.2f}, that of guessing, while train is {train:.2f}. The"
            " list is small for this net: more names or fewer steps would help."
        )
    if guessing < min(train, val):
        return (
            f"The net is worse than guessing: train is {train:.4g} and val {val:.4g}, and guessing all {vocab_size}"
            f" characters evenly has {guessing:.4g}. Take a lower learning rate (--model.lr), or train longer."
        )
    if len(validations) < _FEWEST:
        return ""
    gap = val - train
    return _rate_is_too_high(validations, guessing) or _overfits(validations, gap) or _still_falls(validations, gap)


def _rate_is_too_high(validations: Sequence[Validation], guessing: float) -> str:
    """The loss was above guessing after the first validation; before, the first weights may be far off."""
    above = [each for each in validations[1:] if not each.train <= guessing]
    if not above:
        return ""
    return (
        f"The learning rate is too high: up to step {above[-1].step:,} the training loss was above"
        f" {guessing:.2f}, that of guessing. Take a tenth of the rate (--model.lr)."
    )


def _overfits(validations: Sequence[Validation], gap: float) -> str:
    """In the second half of the training train fell, and val rose or fell by far less."""
    last = validations[-1]
    half = [each for each in validations if each.step <= last.step / 2]
    early, best = _best(half), _best(validations)
    train = half[-1].train - last.train
    if gap < 0.15 or train < _STANDS or early.val - best.val > 0.3 * train:
        return ""
    if last.val - best.val >= 0.02:
        said = f"was best at step {best.step:,} of {last.step:,}, {best.val:.2f}, and rose to {last.val:.2f}"
        helps = "more names or fewer steps would help"
    else:
        said = f"was {early.val:.2f} at step {early.step:,} of {last.step:,} and at best {best.val:.2f}"
        helps = "more names would help, more steps would not"
    return (
        f"Overfitting: val {said}, while the training loss fell to {last.train:.2f}. The list is small for this net:"
        f" {helps}."
    )


def _best(validations: Sequence[Validation]) -> Validation:
    return min(validations, key=lambda each: each.val)


def _still_falls(validations: Sequence[Validation], gap: float) -> str:
    """Val fell to the end, and is as low as train."""
    last = validations[-1]
    half = [each for each in validations if each.step <= last.step / 2]
    fell = half[-1].val - last.val
    if gap > _LEARNABLE or fell < 0.03 or last.val > _best(validations).val + 0.005:
        return ""
    return (
        f"Val still fell, by {fell:.2f} since step {half[-1].step:,}, and is as low as train: train longer"
        " (--trainer.max_steps or --trainer.max_epochs)."
    )
