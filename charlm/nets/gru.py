"""The GRU. Dimension key: S characters of all names, C = n_embd, H = n_hidden."""

import torch
from torch import Tensor, nn

from charlm.nets.parts.gru_gradients import gru
from charlm.nets.parts.recurrence import Recurrent


class GRU(Recurrent):
    """Gated recurrent units: two gates decide what of the state is kept.

    Its arguments are those of `Recurrent`.

    Source: Cho et al. 2014, EMNLP, "Learning Phrase Representations using RNN Encoder-Decoder".
    """

    layers = nn.GRU

    def _read(self, embedded: Tensor, rows: Tensor) -> Tensor:
        by_hand = embedded.device.type == "cpu" and self.recurrent.num_layers == 1
        if by_hand and not torch.is_autocast_enabled("cpu"):
            return gru(embedded, rows.tolist(), *self.recurrent.all_weights[0])
        return super()._read(embedded, rows)
