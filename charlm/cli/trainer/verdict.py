"""What a colleague would say about a training after one look at its losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

_FEWEST = 4  # validations without which nothing is said
_STANDS = 0.05  # nats: a loss that falls by less stands still


@dataclass(frozen=True)
class Validation:
    """The losses at a validation, in nats per character.

    Args:
        step: optimizer steps so far.
        train: the mean training loss since the validation before.
        val: the validation loss.
        rate: the learning rate of the latest step.
    """

    step: int
    train: float
    val: float
    rate: float


def verdict(validations: Sequence[Validation], gap: float, guessing: float) -> str:
    """One or two sentences about a training, or "" where nothing is to be said.

    The limits in the rules are from 40 trainings, of all nets, on lists of 4,002 and 32,033 names; see
    tests/cli/trainer/test_verdict.py, which holds some of them.

    Args:
        validations: all of them, in their order.
        gap: the loss on the val split minus that on the train split, of the weights that are kept.
        guessing: the loss of guessing all characters evenly.
    """
    if len(validations) < _FEWEST:
        return ""
    return _rate_is_too_high(validations, guessing) or _overfits(validations, gap) or _still_falls(validations, gap)


def _rate_is_too_high(validations: Sequence[Validation], guessing: float) -> str:
    """The loss stayed above guessing, or stood still until a drop of the rate made it fall."""
    above = [each for each in validations[1:] if not each.train <= guessing]  # the first weights may be far off
    if above:
        return (
            f"The learning rate is too high: up to step {above[-1].step:,} the training loss was above"
            f" {guessing:.2f}, that of guessing. Take a tenth of the rate (--model.lr)."
        )
    first, last = validations[0], validations[-1]
    before = list(takewhile(lambda each: each.rate == first.rate, validations))
    if len(before) < 3 or last.rate >= first.rate:
        return ""
    stood, fell = before[1].train - before[-1].train, before[-1].train - last.train
    if fell < _STANDS or fell < 2 * stood:
        return ""
    return (
        f"The learning rate is too high: at {first.rate:.3g} the training loss stood still at {before[-1].train:.2f},"
        f" and it fell to {last.train:.2f} when the rate did. Take a lower rate (--model.lr)."
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
    else:
        said = f"was {early.val:.2f} at step {early.step:,} of {last.step:,} and never below {best.val:.2f}"
    train_fell = f"while the training loss fell to {last.train:.2f}"
    return f"Overfitting: val {said}, {train_fell}. The list is small for this net; more names or a smaller net help."


def _best(validations: Sequence[Validation]) -> Validation:
    return min(validations, key=lambda each: each.val)


def _still_falls(validations: Sequence[Validation], gap: float) -> str:
    """Val fell to the end, and is as low as train."""
    last = validations[-1]
    half = [each for each in validations if each.step <= last.step / 2]
    fell = half[-1].val - last.val
    if gap > 0.04 or fell < 0.03 or last.val > _best(validations).val + 0.005:
        return ""
    return f"Val still fell, by {fell:.2f} since step {half[-1].step:,}, and is as low as train: train longer."
