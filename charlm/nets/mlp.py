"""The neural probabilistic language model. Dimension key: B batch, T = block_size, C = n_embd, H = n_hidden, V."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils import skip_init

_DTYPES = (torch.float32, torch.float64)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # as in torch 2.13
_SMALL = 1 << 18  # multiplications up to which OpenBLAS, which numpy brings, takes no second thread


class MLP(nn.Module):
    """The last T characters, each embedded, through one tanh layer to the logits of the next.

    Args:
        vocab_size: V, the characters and the boundary.
        block_size: T, characters of context, >= 1.
        n_embd: C, numbers per character.
        n_hidden: H, tanh units.
        init: "default" is small and well scaled, so that the first loss is about ln V; "notebook" is the course's own,
            drawn from torch's global generator in its order.

    Raises:
        ValueError: a size below 1, or an unknown `init`.

    Source: Bengio et al. 2003, JMLR 3:1137-1155, section 2, with characters for words and without direct connections.
    """

    def __init__(
        self,
        vocab_size: int = 27,
        block_size: int = 3,
        n_embd: int = 10,
        n_hidden: int = 200,
        init: Literal["default", "notebook"] = "default",
    ) -> None:
        super().__init__()
        if init not in ("default", "notebook"):
            raise ValueError(f"init is {init!r}; give 'default' or 'notebook'")
        sizes = {"vocab_size": vocab_size, "block_size": block_size, "n_embd": n_embd, "n_hidden": n_hidden}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} is {size}; it must be at least 1")
        self.block_size = block_size
        # Built without torch's own initial values: drawing those would move the generator before the notebook's draws.
        device = torch.get_default_device()
        self.embedding = skip_init(nn.Embedding, vocab_size, n_embd, device=device)
        self.hidden = skip_init(nn.Linear, block_size * n_embd, n_hidden, device=device)
        self.output = skip_init(nn.Linear, n_hidden, vocab_size, device=device)
        (self._init_notebook if init == "notebook" else self._init_default)()

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T)."""
        if torch.is_inference_mode_enabled() and type(context) is Tensor and len(context) and self._is_plain():
            return torch.from_numpy(_activations(self.arrays(), context)[-1])
        return self.output(torch.tanh(self.hidden(self.embedding(context).flatten(1))))

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy of `forward`'s logits, float (), in nats per character; by hand where that is possible.

        By hand it can be differentiated once; for slopes of slopes use `forward`.

        Args:
            context: int64 (B, T).
            target: int64 (B,), each a character's id.
        """
        ours = type(context) is Tensor and type(target) is Tensor and len(target)
        if torch.is_grad_enabled() and ours and self.is_by_hand() and _fits(target, self.output.out_features):
            return _ByHand.apply(self, context, target, *self.parameters())
        return nn.functional.cross_entropy(self(context), target)

    def is_by_hand(self) -> bool:
        """Whether `gradients` may stand in for autograd: all weights are learnt, on the CPU, and nobody looks on."""
        return all(weight.requires_grad for weight in self.parameters()) and self._is_plain()

    def arrays(self) -> list[np.ndarray]:
        """The weights as numpy sees them, in the order of `parameters()`: the same memory, on the CPU."""
        return [weight.detach().numpy() for weight in self.parameters()]

    @staticmethod
    def gradients(weights: Sequence[np.ndarray], context: Tensor, target: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The cross-entropy and its gradients, derived by hand and computed by numpy.

        Two fifths of autograd's time at a batch of 32, and two thirds at 1,024: numpy starts an operation sooner than
        torch and has a faster tanh.

        Args:
            weights: the net's `arrays()`.
            context: int64 (B, T).
            target: int64 (B,), each a character's id.

        Returns:
            loss: float (), in nats per character.
            gradients: of each of `weights`.

        Raises:
            IndexError: an id outside 0..V-1.
        """
        table, W1, _, W2, b2 = weights
        if not _fits(target, len(b2)):
            raise IndexError(f"target has an id outside 0..{len(b2) - 1}")
        B = len(target)
        embedded, h, logits = _activations(weights, context)
        logp = torch.from_numpy(logits).log_softmax(1).numpy()  # (B, V)
        at = np.arange(0, logp.size, logp.shape[1]) + target.numpy()  # of the targets among all logits
        loss = -np.add.reduce(logp.take(at)) / B
        slope = np.exp(logp, out=logp)  # of the loss at the logits, when it is done
        slope.reshape(-1)[at] -= 1
        slope *= 1 / B
        d_hidden = _product(slope, W2)
        d_W2 = _product(slope.T, h)
        h *= h
        d_hidden *= np.subtract(1, h, out=h)
        d_embedded = torch.from_numpy(_product(d_hidden, W1)).view(-1, table.shape[1])
        d_table = torch.zeros(table.shape, dtype=d_embedded.dtype).index_add_(0, context.reshape(-1), d_embedded)
        others = (_product(d_hidden.T, embedded), np.add.reduce(d_hidden, 0), d_W2, np.add.reduce(slope, 0))
        return torch.from_numpy(np.asarray(loss)), [d_table, *map(torch.from_numpy, others)]

    def _is_plain(self) -> bool:
        """Whether numpy gives what torch would: the net as it is here, on the CPU, without hooks, traced by nobody."""
        parts = (self.embedding, self.hidden, self.output)
        if type(self).forward is not MLP.forward or [type(part) for part in parts] != [nn.Embedding, *[nn.Linear] * 2]:
            return False
        weights = list(self.parameters())
        plain = len(weights) == 5 and all(w.device.type == "cpu" and w.dtype in _DTYPES for w in weights)
        hooked = _has_any_global_hook() or any(getattr(part, kind) for part in (self, *parts) for kind in _HOOKS)
        watched = torch.is_autocast_enabled("cpu") or torch.is_anomaly_enabled() or torch.compiler.is_compiling()
        return plain and not hooked and not watched and not torch.jit.is_tracing()

    @torch.no_grad()
    def _init_default(self) -> None:
        """Tanh inputs of about unit size (gain 5/3 over sqrt(fan in)), logits near zero: no wasted first steps."""
        nn.init.normal_(self.embedding.weight)
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="tanh")
        nn.init.zeros_(self.hidden.bias)
        nn.init.normal_(self.output.weight, std=0.1 / self.output.in_features**0.5)
        nn.init.zeros_(self.output.bias)

    @torch.no_grad()
    def _init_notebook(self) -> None:
        """The course's tables hold (fan in, fan out), torch's layers (fan out, fan in): hence the transpositions."""
        table, hidden, output = self.embedding.weight, self.hidden, self.output
        table.copy_(torch.randn(table.shape) * 0.1)
        hidden.weight.copy_((torch.randn(hidden.weight.T.shape) * 0.2).T)
        hidden.bias.copy_(torch.randn(hidden.bias.shape) * 0.01)
        output.weight.copy_((torch.randn(output.weight.T.shape) * 0.01).T)
        output.bias.copy_(torch.randn(output.bias.shape) * 0)


def _fits(ids: Tensor, size: int) -> bool:
    """Whether all ids are in 0..size-1: a negative one is a huge one without its sign."""
    array = ids.numpy()
    return array.view(np.uint64 if array.itemsize == 8 else f"u{array.itemsize}").max().item() < size


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two matrices: a small one by numpy, which starts sooner, a large one by torch.

    For large ones numpy's BLAS takes threads of its own, which torch's then wait for, and the other way round.
    """
    if a.size * b.shape[1] <= _SMALL:
        return a @ b
    return torch.from_numpy(a).mm(torch.from_numpy(b)).numpy()


def _activations(weights: Sequence[np.ndarray], context: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embedded characters (B, T * C), hidden units (B, H) and logits (B, V)."""
    table, W1, b1, W2, b2 = weights
    if not _fits(context, len(table)):
        raise IndexError(f"context has an id outside 0..{len(table) - 1}")
    embedded = table.take(context.numpy(), 0).reshape(len(context), -1)
    h = _product(embedded, W1.T)
    h += b1
    np.tanh(h, out=h)
    logits = _product(h, W2.T)
    logits += b2
    return embedded, h, logits


class _ByHand(torch.autograd.Function):
    """`MLP.gradients` for autograd."""

    @staticmethod
    def forward(ctx: Any, net: MLP, context: Tensor, target: Tensor, *weights: Tensor) -> Tensor:
        loss, ctx.gradients = net.gradients(net.arrays(), context, target)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(slope * gradient for gradient in ctx.gradients)
