"""The GRU."""

import torch
from torch import Tensor, nn

from charlm.nets.parts.fast_gru import can_be_fast, fast_forward, fast_step
from charlm.nets.parts.recurrence import Recurrent, State


class GRU(Recurrent):
    """Gated recurrent units: two gates decide how much of the state is kept.

    Its arguments are those of `Recurrent`.

    Source: Cho et al. 2014, EMNLP, "Learning Phrase Representations using RNN Encoder-Decoder".
    """

    layers = nn.GRU

    def forward(self, names: Tensor) -> Tensor:
        """As `Recurrent.forward`; a faster form of it in training, which gives logits of 0 in the padding."""
        return fast_forward(self, names) if can_be_fast(self) else super().forward(names)

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """As `Recurrent.step`; a faster form of it without gradients."""
        if self.training or torch.is_grad_enabled() or self.recurrent.num_layers > 1:
            return super().step(ids, state)
        hidden = fast_step(self, ids, None if state is None else state[0][0])
        return self.output(hidden), (hidden[None],)
