"""Causal attention of names in training, with analytic gradients: a third of the time of torch's, with dropout.

Dimension key: B names, L positions, S positions of all names, N heads, D numbers of a head. torch's softmax of few
numbers takes longer than the products around it. scripts/bench/gradients.py measures the time.
"""

from typing import Any

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd
from torch.autograd import Function

from charlm.nets.parts.dropout import mask
from charlm.nets.parts.first_order import first_order
from charlm.nets.parts.packing import Packing


def attention(query_key_value: Tensor, packing: Packing, n_head: int, dropout: float) -> Tensor:
    """For each position of a name, gather values from it and the positions before it.

    Args:
        query_key_value: float (S, 3 * N * D), on the CPU.
        packing: where the S positions are.
        n_head: N.
        dropout: share of the attention weights that is dropped, in [0, 1).

    Returns:
        float (S, N * D).
    """
    return _Attention.apply(query_key_value, packing, n_head, dropout)


class _Attention(Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, query_key_value: Tensor, packing: Packing, n_head: int, dropout: float) -> Tensor:
        B, L = packing.shape
        parts = packing.pad(query_key_value).view(B, L, 3, n_head, -1).permute(2, 0, 3, 1, 4).flatten(1, 2).contiguous()
        query, key, value = parts  # each (B * N, L, D)
        later = torch.full((L, L), -torch.inf, dtype=query.dtype).triu(1)
        weights = torch.baddbmm(later, query, key.mT, alpha=query.shape[2] ** -0.5)
        weights.sub_(weights.amax(2, keepdim=True)).exp_().div_(weights.sum(2, keepdim=True))
        kept = mask(weights, dropout) if dropout else None
        gathered = torch.bmm(weights if kept is None else weights * kept, value)
        ctx.save_for_backward(parts, weights, kept)
        ctx.packing, ctx.n_head = packing, n_head
        return packing.pack(gathered.view(B, n_head, L, -1).transpose(1, 2).reshape(B, L, -1))

    @staticmethod
    @custom_bwd(device_type="cpu")
    @first_order
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        (query, key, value), weights, kept = ctx.saved_tensors
        B, L = ctx.packing.shape
        slope = ctx.packing.pad(slope).view(B, L, ctx.n_head, -1).transpose(1, 2).reshape(value.shape)
        d_parts = query.new_empty(3, *query.shape)
        d_query, d_key, d_value = d_parts
        torch.bmm((weights if kept is None else weights * kept).mT, slope, out=d_value)
        d_weights = torch.bmm(slope, value.mT)
        if kept is not None:
            d_weights.mul_(kept)
        d_weights.mul_(weights)
        d_weights.addcmul_(weights, d_weights.sum(2, keepdim=True), value=-1).mul_(query.shape[2] ** -0.5)
        torch.bmm(d_weights, key, out=d_query)
        torch.bmm(d_weights.mT, query, out=d_key)
        d_padded = d_parts.view(3, B, ctx.n_head, L, -1).permute(1, 3, 0, 2, 4).reshape(B, L, -1)
        return ctx.packing.pack(d_padded), None, None, None
