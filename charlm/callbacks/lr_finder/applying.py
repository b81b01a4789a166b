"""Put the rate that was found where a training takes its rate from."""

from collections.abc import Callable
from contextlib import suppress

from charlm.callbacks.internals.lightning import LightningModule, lightning_hasattr, lightning_setattr
from charlm.callbacks.lr_finder.sweep import LRSweep
from charlm.callbacks.shared.rates import refuse_fixed, scale_rates

Setter = str | Callable[[LightningModule, float], object]


def check(sweep: LRSweep, update_attr: Setter | None) -> None:
    """Find out before a search whether its rate could be applied.

    Raises:
        ValueError: a scheduler would overwrite the rate, all rates are 0, or the module has no such attribute.
    """
    if callable(update_attr):
        return
    refuse_fixed(sweep.schedulers)
    if not sweep.peak:
        raise ValueError("LRFinder cannot scale the optimizer's rates, because all are 0; configure a rate above 0")
    if update_attr is not None and not lightning_hasattr(sweep.pl_module, update_attr):
        raise ValueError(
            f"LRFinder's update_attr is {update_attr!r}, and {type(sweep.pl_module).__name__} has no such attribute or"
            " hyperparameter; give the name of one, or a function of the module and the rate"
        )


def refuse_later_setters(sweep: LRSweep) -> None:
    """Refuse callbacks that set the rates of the training's start before every step.

    Raises:
        ValueError: there is one, and the training has begun.
    """
    setters = [
        type(callback).__name__
        for callback in sweep.callbacks
        if hasattr(callback, "rate_factor") and getattr(callback, "sets_rates", True)
    ]
    if setters and not sweep.begins:
        raise ValueError(f"LRFinder cannot change the rates of {setters[0]} after the start; use one of the two")


def apply(sweep: LRSweep, new: float, update_attr: Setter | None) -> float:
    """Scale the optimizer's rates, or call the user's function, and return the rate that was replaced."""
    old = sweep.peak
    if callable(update_attr):
        update_attr(sweep.pl_module, new)
        return old
    replace_hyperparameter(sweep.pl_module, old, new, update_attr)
    scale_rates(sweep.optimizer, sweep.schedulers, old, new)
    return old


def replace_hyperparameter(pl_module: LightningModule, old: float, new: float, update_attr: Setter | None) -> None:
    """Set the attribute that the user named, else `lr` or `learning_rate` if it was the rate before."""
    if isinstance(update_attr, str):
        lightning_setattr(pl_module, update_attr, new)
    if update_attr is not None:
        return
    for name in ("lr", "learning_rate"):
        with suppress(Exception):  # a hyperparameter may be anything, such as one value for each group
            if name in pl_module.hparams and pl_module.hparams[name] == old:
                pl_module.hparams[name] = new
        with suppress(Exception):  # a property may have no setter
            if isinstance(getattr(pl_module, name, None), float) and getattr(pl_module, name) == old:
                setattr(pl_module, name, new)
