"""An ensemble of recurrent nets. Dimension key: K members, B names, L positions, H = n_hidden, V = vocab_size."""

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn

from charlm.nets.gru import GRU
from charlm.nets.interface import NameNet
from charlm.nets.lstm import LSTM
from charlm.nets.parts.recurrence import Recurrent, State
from charlm.nets.parts.sizes import check_choice, check_sizes
from charlm.nets.rnn import RNN

_KINDS: dict[str, type[Recurrent]] = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}


class Ensemble(nn.Module):
    """Nets of one kind that learn side by side, each by itself, and whose probabilities are averaged.

    Args:
        vocab_size: V, the characters and the start/end token.
        kind: "RNN", "GRU" or "LSTM".
        members: K, nets.
        n_embd: numbers per character of each.
        n_hidden: H, units of a layer of each.
        n_layer: recurrent layers of each.
        dropout: share of the units that each member drops in training, independently.
        n_labels: K, labels that may begin a name in place of the start token; their ids follow the characters'.

    Raises:
        ValueError: an unknown `kind`, a size below 1, or `dropout` outside [0, 1).

    Source: Hansen and Salamon 1990, IEEE TPAMI 12:993-1001, "Neural Network Ensembles".
    """

    takes = "names"
    block_size = None

    def __init__(
        self,
        vocab_size: int = 27,
        kind: Literal["RNN", "GRU", "LSTM"] = "GRU",
        members: int = 4,
        n_embd: int = 64,
        n_hidden: int = 256,
        n_layer: int = 1,
        dropout: float = 0.0,
        n_labels: int = 0,
    ) -> None:
        super().__init__()
        check_choice(kind=kind, allowed=tuple(_KINDS))
        check_sizes(members=members)
        sizes = (vocab_size, n_embd, n_hidden, n_layer, dropout, n_labels)
        self.members = nn.ModuleList(_KINDS[kind](*sizes) for _ in range(members))

    def forward(self, names: Tensor) -> Tensor:
        """Log-probabilities float32 (B, L, V) for the character after each of `names`, int64 (B, L)."""
        return _averaged(self.each(names))

    def each(self, names: Tensor) -> list[Tensor]:
        """Each member's logits, float32 (B, L, V), on which it is trained."""
        return [net(names) for net in self.members]

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The log-probabilities after one more character of every name.

        Args:
            ids: int64 (B,); token 0 in the first call.
            state: as the last call returned it; None in the first call.

        Returns:
            logits: float32 (B, V).
            state: the states of all members, one after the other.
        """
        each = len(state) // len(self.members) if state is not None else 0
        logits: list[Tensor] = []
        after: list[Tensor] = []
        for number, member in enumerate(self.members):
            own = state[number * each : (number + 1) * each] if state is not None else None
            net = cast(NameNet, member)
            of_member, now = net.step(ids, own)
            logits.append(of_member)
            after += now
        return _averaged(logits), tuple(after)


def _averaged(logits: list[Tensor]) -> Tensor:
    """The logarithm of the mean of the members' probabilities."""
    return torch.stack(logits).log_softmax(-1).logsumexp(0) - math.log(len(logits))
