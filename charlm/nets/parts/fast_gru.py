"""A GRU layer with analytic gradients: three quarters of the time of a training step with nn.GRU; and one step of it.

Dimension key: B names, L positions, S positions of all names, C = n_embd, H = n_hidden. The weights are those of
`nn.GRU`, which stacks its gates in the order reset, update, new. scripts/bench/gradients.py measures the time.
"""

from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd
from torch.autograd import Function
from torch.nn.functional import linear

from charlm.nets.parts.first_order import first_order
from charlm.nets.parts.packing import inside_names
from charlm.nets.parts.recurrence import Recurrent


def can_be_fast(net: Recurrent) -> bool:
    """Whether `fast_forward` applies: one layer in training on the CPU."""
    return net.training and net.output.weight.device.type == "cpu" and net.recurrent.num_layers == 1


def fast_forward(net: Recurrent, names: Tensor) -> Tensor:
    """`Recurrent.forward` of a GRU in training, without the padding of names that come longest first.

    Args:
        net: a GRU.
        names: int64 (B, L), which begin with token 0.

    Returns:
        Logits float32 (B, L, V); 0 in the padding.
    """
    inside = inside_names(names).t()  # (L, B): position by position
    embedded = net.dropout(net.embedding(names.t()[inside]))  # (S, C)
    hidden = gru(embedded, inside.sum(1).tolist(), *net.recurrent.all_weights[0])
    logits = net.output(net.dropout(hidden))
    padded = logits.new_zeros(*inside.shape, logits.shape[1]).masked_scatter(inside[..., None], logits)
    return padded.transpose(0, 1)


def fast_step(net: Recurrent, ids: Tensor, state: Tensor | None) -> Tensor:
    """The state of a GRU of one layer in eval mode, float (B, H), after one more character of every name.

    Args:
        net: a GRU.
        ids: int64 (B,).
        state: (B, H); None in the first call.
    """
    w_ih, w_hh, b_ih, b_hh = net.recurrent.all_weights[0]
    H = w_hh.shape[1]
    state = w_hh.new_zeros(len(ids), H) if state is None else state
    two, new = linear(net.embedding.weight, w_ih, b_ih)[ids].split([2 * H, H], dim=1)  # once for each character
    old_two, old = linear(state, w_hh, b_hh).split([2 * H, H], dim=1)
    reset, update = two.add_(old_two).sigmoid_().chunk(2, dim=1)
    new.addcmul_(reset, old).mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh
    return torch.lerp(new, state, update)


def gru(x: Tensor, rows: list[int], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    """A layer of `nn.GRU` over a packed sequence, from a state of zeros; equal within rounding, gradients too.

    It is faster because it multiplies nothing with the zeros of the first state, takes the gradients of the weights
    from all positions at once, and computes tanh from the faster sigmoid.

    Args:
        x: float (S, C), position by position; the names that go on are the first of those at the position before.
        rows: names at each of the L positions, never rising; their sum is S.
        w_ih: (3H, C).
        w_hh: (3H, H).
        b_ih: (3H,).
        b_hh: (3H,).

    Returns:
        The state after each of `x`, (S, H).
    """
    return _GRU.apply(x, rows, w_ih, w_hh, b_ih, b_hh)


class _GRU(Function):
    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # also under autocast, where nn.GRU takes longer
    def forward(ctx: Any, x: Tensor, rows: list[int], w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        H = w_hh.shape[1]
        at = [slice(*ends) for ends in pairwise(accumulate(rows, initial=0))]
        bias = b_ih.clone()
        bias[: 2 * H] += b_hh[: 2 * H]
        gates = torch.addmm(bias, x, w_ih.t())
        states, remembered = x.new_empty(2, len(x), H)  # remembered: the state's part of `new`, before reset
        remembered[at[0]] = b_hh[2 * H :]
        for t, now in enumerate(at):
            two, new = gates[now].split([2 * H, H], dim=1)
            last = states[at[t - 1]][: rows[t]] if t else torch.zeros_like(new)
            if t:
                two.addmm_(last, w_hh[: 2 * H].t())
                torch.addmm(b_hh[2 * H :], last, w_hh[2 * H :].t(), out=remembered[now])
            reset, update = two.sigmoid_().chunk(2, dim=1)
            new.addcmul_(reset, remembered[now]).mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh
            torch.lerp(new, last, update, out=states[now])
        ctx.save_for_backward(x, w_ih, w_hh, gates, states, remembered)
        ctx.rows, ctx.at = rows, at
        return states

    @staticmethod
    @custom_bwd(device_type="cpu")
    @first_order
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, gates, states, remembered = ctx.saved_tensors
        H, rows, at = w_hh.shape[1], ctx.rows, ctx.at
        last = torch.cat(
            [torch.zeros_like(states[at[0]])] + [states[b][:n] for b, n in zip(at, rows[1:], strict=False)]
        )
        d_states = d_out.clone()
        d_gates, d_new = torch.empty_like(gates), torch.empty_like(states)  # d_gates: for w_hh, with d_new: for w_ih
        for t, now in reversed(list(enumerate(at))):
            reset, update, new = gates[now].chunk(3, dim=1)
            d_reset, d_update, d_remembered = d_gates[now].chunk(3, dim=1)
            kept = d_states[now] * update
            torch.sub(d_states[now], kept, out=d_new[now])
            d_new[now].addcmul_(d_new[now] * new, new, value=-1)
            torch.mul(d_new[now], reset, out=d_remembered)
            slope = d_remembered * remembered[now]
            torch.addcmul(slope, slope, reset, value=-1, out=d_reset)
            slope = torch.sub(last[now], new, out=slope).mul_(kept)
            torch.addcmul(slope, slope, update, value=-1, out=d_update)
            if t:
                d_states[at[t - 1]][: rows[t]].add_(kept).addmm_(d_gates[now], w_hh)
        two, later = d_gates[:, : 2 * H], slice(rows[0], None)  # `two`: the same in both parts
        d_x = torch.addmm(two @ w_ih[: 2 * H], d_new, w_ih[2 * H :])
        d_w_ih = torch.cat([two.t() @ x, d_new.t() @ x])
        d_w_hh = d_gates[later].t() @ last[later]
        d_b_hh = d_gates.sum(0)
        return d_x, None, d_w_ih, d_w_hh, torch.cat([d_b_hh[: 2 * H], d_new.sum(0)]), d_b_hh
