"""What comes out of a module's hidden units on the batches that pass through it."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from charlm.callbacks.shared.loggers import Failed, attempt

_KINDS = {nn.Tanh: "saturation", nn.Sigmoid: "saturation", nn.ReLU: "dead"}
_SATURATED = 0.97
_COMPILED = "_orig_mod"  # torch.compile's name for the module in the one that it makes
VALUES = 50_000
"""Numbers of which a histogram is made at most, evenly taken."""


class ActivationWatch:
    """Looks at every nn.Tanh, nn.Sigmoid and nn.ReLU of a module by forward hooks, from now on until `end`.

    Nothing else is computed for it, and what passes through is left as it is. What torch.compile has compiled is not
    looked at and shows nothing, as a look would break its graph in two. A compiled method, such as forward, is compiled
    once more for it.

    Args:
        module: the parts that are called directly are seen.
    """

    def __init__(self, module: nn.Module) -> None:
        self.failed: Failed = {}
        self._shares: dict[str, list[float]] = {}
        self._values: dict[str, list[Tensor]] = {}
        self._handles = [
            part.register_forward_hook(partial(self._see, f"{kind}/{name}", f"activations/{name}"))
            for name, part in module.named_modules()
            for tanh_like, kind in _KINDS.items()
            if isinstance(part, tanh_like) and _COMPILED not in name.split(".")
        ]

    def end(self) -> None:
        """Look no more."""
        for handle in self._handles:
            handle.remove()

    def shares(self) -> dict[str, float]:
        """For each layer, `saturation/<name>` or `dead/<name>`, in [0, 1].

        Saturated is a tanh above 0.97 in size, and a sigmoid as near to its ends (below 0.015 or above 0.985): the
        share of all outputs. Dead is a ReLU that was 0 for the whole batch: the share of its units. A unit is a
        feature, at all positions: the last dimension of an output (F,), (N, F) or (N, T, F), and the second of one
        with more, as (N, C, H, W) of convolutions. (N, C, L) of nn.Conv1d cannot be told from (N, T, F): there it is
        the share of positions that were 0 in all channels. Of several calls it is the mean.
        """
        return {tag: sum(shares) / len(shares) for tag, shares in self._shares.items()}

    def values(self) -> dict[str, Tensor]:
        """For each layer, `activations/<name>`: outputs, float32 (N,) on the CPU, N up to `VALUES` a call."""
        return {tag: torch.cat(values) for tag, values in self._values.items()}

    def _see(self, share: str, tag: str, part: nn.Module, inputs: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        if isinstance(output, Tensor) and output.numel():
            # the forward pass of a training hangs on it
            self.failed |= attempt(tag, lambda: self._take(share, tag, part, output.detach()))

    def _take(self, share: str, tag: str, part: nn.Module, output: Tensor) -> None:
        if isinstance(part, nn.ReLU):
            hit = _dead(output)
        elif isinstance(part, nn.Sigmoid):
            hit = (output - 0.5).abs() > _SATURATED / 2
        else:
            hit = output.abs() > _SATURATED
        hit_share, values = hit.float().mean().item(), evenly(output)
        self._shares.setdefault(share, []).append(hit_share)
        self._values.setdefault(tag, []).append(values)


def _dead(output: Tensor) -> Tensor:
    """Which units were 0 throughout, bool (F,); an output of one dimension is that of a single example."""
    output = torch.atleast_1d(output)
    feature = 1 if output.dim() > 3 else -1
    return (output == 0).movedim(feature, -1).reshape(-1, output.shape[feature]).all(0)


def evenly(values: Tensor) -> Tensor:
    """Up to `VALUES` of the values, at even distances: float32 (N,) on the CPU, a copy."""
    every = -(-values.numel() // VALUES)
    return values.detach().flatten()[::every].float().cpu().clone()
