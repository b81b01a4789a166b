"""The neural probabilistic language model. Dimension key: B batch, T = block_size, C = n_embd, H = n_hidden, V."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.utils import skip_init

from charlm.nets.parts.mlp_gradients import fits, mlp_gradients, mlp_logits
from charlm.nets.parts.sizes import check_sizes

_GradientFunction = Callable[[tuple[Tensor, Tensor], int], tuple[Tensor, list[Tensor]] | None]
_DTYPES = (torch.float32, torch.float64)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")  # as in torch 2.13


class Tanh(nn.Tanh):
    """nn.Tanh; on the CPU in inference mode numpy's, which `mlp_logits` takes: a hook on it changes no bit of them."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape as `input`."""
        by_numpy = torch.is_inference_mode_enabled() and type(input) is Tensor and input.device.type == "cpu"
        if by_numpy and input.dtype in _DTYPES and not _is_watched():
            return torch.from_numpy(np.tanh(input.numpy()))
        return super().forward(input)


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

    takes = "windows"

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
        check_sizes(vocab_size=vocab_size, block_size=block_size, n_embd=n_embd, n_hidden=n_hidden)
        self.block_size = block_size
        # Built without torch's own initial values: drawing those would move the generator before the notebook's draws.
        device = torch.get_default_device()
        self.embedding = skip_init(nn.Embedding, vocab_size, n_embd, device=device)
        self.hidden = skip_init(nn.Linear, block_size * n_embd, n_hidden, device=device)
        self.tanh = Tanh()  # a module, so that hooks can look at the hidden units
        self.output = skip_init(nn.Linear, n_hidden, vocab_size, device=device)
        (self._init_notebook if init == "notebook" else self._init_default)()

    def forward(self, context: Tensor) -> Tensor:
        """Logits float32 (B, V) for the character after `context`, int64 (B, T)."""
        inference = torch.is_inference_mode_enabled() and type(context) is Tensor and len(context)
        if inference and self._is_plain(of_tanh=False):
            tanh = self._seen_tanh if _is_hooked(self.tanh) else None
            return torch.from_numpy(mlp_logits(self.arrays(), context, tanh))
        return self.output(self.tanh(self.hidden(self.embedding(context).flatten(1))))

    def loss(self, context: Tensor, target: Tensor) -> Tensor:
        """The cross-entropy of `forward`'s logits, float (), in nats per character; by hand where that is possible.

        By hand it can be differentiated once; for slopes of slopes use `forward`.

        Args:
            context: int64 (B, T).
            target: int64 (B,), each a character's id.
        """
        ours = type(context) is Tensor and type(target) is Tensor and target.dim() == 1 and len(target) > 0
        fitting = ours and context.shape == (len(target), self.block_size)
        if torch.is_grad_enabled() and fitting and self.is_by_hand() and fits(target.numpy(), self.output.out_features):
            return _ByHand.apply(self, context, target, *self.parameters())
        return nn.functional.cross_entropy(self(context), target)

    def gradient_function(self, log: Callable[[Tensor], None]) -> _GradientFunction | None:
        """Loss and gradients of a batch without autograd, as `LeanStep` takes them; None where the net needs autograd.

        Args:
            log: gets the loss of each batch.
        """
        weights = list(self.parameters())
        if not self.is_by_hand() or any(w._backward_hooks or w._post_accumulate_grad_hooks for w in weights):
            return None
        arrays = self.arrays()

        def gradients(batch: tuple[Tensor, Tensor], batch_idx: int) -> tuple[Tensor, list[Tensor]] | None:
            context, target = batch
            if not len(target) or not all(weight.requires_grad for weight in weights):
                return None
            loss, of_weights = mlp_gradients(arrays, context, target)
            log(loss)
            return loss, of_weights

        return gradients

    def is_by_hand(self) -> bool:
        """Whether `mlp_gradients` may stand in for autograd: all weights learnt, on the CPU, and nobody looks on."""
        return all(weight.requires_grad for weight in self.parameters()) and self._is_plain()

    def arrays(self) -> list[np.ndarray]:
        """The weights as numpy sees them, in the order of `parameters()`: the same memory, on the CPU."""
        return [weight.detach().numpy() for weight in self.parameters()]

    def _seen_tanh(self, values: np.ndarray) -> np.ndarray:
        return self.tanh(torch.from_numpy(values)).numpy()

    def _is_plain(self, of_tanh: bool = True) -> bool:
        """Whether numpy gives what torch would: the net as it is here, on the CPU, without hooks, traced by nobody.

        Without `of_tanh`, hooks on the hidden units do not count.
        """
        parts = (self.embedding, self.hidden, self.output, self.tanh)
        kinds = [nn.Embedding, nn.Linear, nn.Linear, Tanh]
        if type(self).forward is not MLP.forward or [type(part) for part in parts] != kinds:
            return False
        table, weights = self.embedding, list(self.parameters())
        options = (table.padding_idx is not None, table.max_norm is not None, table.scale_grad_by_freq, table.sparse)
        as_made = len(weights) == 5 and not any(options) and all(type(w) is nn.Parameter for w in weights)
        plain = as_made and all(w.device.type == "cpu" and w.dtype is weights[0].dtype in _DTYPES for w in weights)
        hooked = _has_any_global_hook() or any(map(_is_hooked, (self, *(parts if of_tanh else parts[:-1]))))
        return plain and not hooked and not _is_watched()

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


def _is_hooked(part: nn.Module) -> bool:
    return any(getattr(part, kind) for kind in _HOOKS)


def _is_watched() -> bool:
    """Whether torch follows what is computed, or computes it in another precision."""
    watched = torch.is_autocast_enabled("cpu") or torch.is_anomaly_enabled() or torch.compiler.is_compiling()
    return watched or torch.jit.is_tracing()


class _ByHand(torch.autograd.Function):
    """`mlp_gradients` for autograd."""

    @staticmethod
    def forward(ctx: Any, net: MLP, context: Tensor, target: Tensor, *weights: Tensor) -> Tensor:
        loss, ctx.gradients = mlp_gradients(net.arrays(), context, target)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, *(slope * gradient for gradient in ctx.gradients)
