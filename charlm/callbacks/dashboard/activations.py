"""What the hidden units of a module do on the batches that pass through it. Dimension key: N values, F units."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from charlm.callbacks.shared.logger_adapters import Failed, attempt

_KINDS = {nn.Tanh: "saturation", nn.Sigmoid: "saturation", nn.ReLU: "dead"}
_SATURATED = 0.97
_COMPILED = "_orig_mod"  # the name under which torch.compile keeps the original module
VALUES = 10_000  # of more, numpy adds up the squares on all cores, which then wait for more work for 0.1 s
"""The most values that a histogram is made of; of more, an evenly spaced part."""


class ActivationWatch:
    """Watch the outputs of every nn.Tanh, nn.Sigmoid and nn.ReLU of a module by forward hooks, until `end`.

    The outputs are not changed. Modules compiled by torch.compile are left out, since a hook would break their graph
    in two; a compiled method, such as forward, is compiled once more.

    Args:
        module: its parts are seen when they are called directly.
    """

    def __init__(self, module: nn.Module) -> None:
        self.failed: Failed = {}
        self._shares: dict[str, list[float]] = {}
        self._values: dict[str, list[Tensor]] = {}
        self._handles = [
            part.register_forward_hook(partial(self._see, f"{kind}/{name}", f"activations/{name}"))
            for name, part in module.named_modules()
            for layer, kind in _KINDS.items()
            if isinstance(part, layer) and _COMPILED not in name.split(".")
        ]

    def end(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def shares(self) -> dict[str, float]:
        """Return for each layer `saturation/<name>` or `dead/<name>`, in [0, 1], the mean over its calls.

        Saturation is the share of outputs of a tanh above 0.97 in absolute value, or of a sigmoid below 0.015 or above
        0.985. Dead is the share of a ReLU's units that are 0 for the whole batch and at all positions. The unit is the
        last dimension of an output (F,), (N, F) or (N, T, F), and the second one of larger outputs, such as
        (N, C, H, W) of convolutions. The (N, C, L) of nn.Conv1d cannot be told from (N, T, F): there it is the share of
        positions that are 0 in all channels.
        """
        return {tag: sum(shares) / len(shares) for tag, shares in self._shares.items()}

    def values(self) -> dict[str, Tensor]:
        """Return for each layer `activations/<name>`: outputs, float32 (N,) on the CPU, N up to `VALUES` a call."""
        return {tag: torch.cat(values) for tag, values in self._values.items()}

    def _see(self, share: str, tag: str, part: nn.Module, inputs: Any, output: Any) -> None:
        if not torch.compiler.is_compiling() and isinstance(output, Tensor) and output.numel():
            # an exception here would end the forward pass of the user's model
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
    """Which units are 0 throughout, bool (F,); an output of one dimension is that of a single example."""
    output = torch.atleast_1d(output)
    feature = 1 if output.dim() > 3 else -1
    return (output == 0).movedim(feature, -1).reshape(-1, output.shape[feature]).all(0)


def evenly(values: Tensor) -> Tensor:
    """Copy up to `VALUES` evenly spaced values: float32 (N,) on the CPU."""
    every = -(-values.numel() // VALUES)
    return values.detach().flatten()[::every].float().cpu().clone()
