"""Analytic gradients are the first derivatives alone."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

Backward = Callable[..., tuple[Tensor | None, ...]]


def first_order(backward: Backward) -> Backward:
    """Make the `backward` of a `torch.autograd.Function` refuse `create_graph=True`.

    torch's `once_differentiable` is not enough: `torch.autograd.grad` with respect to the weights passes it by, and
    second derivatives would silently lack what comes through this function.

    Raises:
        RuntimeError: the gradients are to be differentiated again.
    """

    @wraps(backward)
    def checked(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "create_graph=True: the fast gradients of the GRU, the Transformer and the MLP have no second"
                " derivatives; take the loss from the net in eval mode, as cross_entropy(net.eval()(context), target),"
                " the Transformer's within torch.nn.attention.sdpa_kernel(SDPBackend.MATH)"
            )
        return backward(ctx, *slopes)

    return checked
