"""The common part of the recurrent nets. Dimension key: B names, L positions, C = n_embd, H = n_hidden, V."""

from typing import ClassVar

from torch import Tensor, nn

from charlm.nets.parts.dropout import Dropout
from charlm.nets.parts.layers import start_logits
from charlm.nets.parts.sizes import check_dropout, check_sizes

State = tuple[Tensor, ...]


class Recurrent(nn.Module):
    """Characters, embedded, through torch's recurrent layers to the logits of the next: common to RNN, GRU and LSTM.

    Args:
        vocab_size: V, the characters and the start/end token.
        n_embd: C, numbers per character.
        n_hidden: H, units of a layer.
        n_layer: recurrent layers, each reading the one below.
        dropout: share of the units that is dropped in training, after the embedding and after each layer.
        n_labels: K, labels that may begin a name in place of the start token; their ids follow the characters'.

    Raises:
        ValueError: a size below 1, or `dropout` outside [0, 1).
    """

    takes = "names"
    block_size = None
    """No limit: the state summarises all characters before, however many."""
    layers: ClassVar[type[nn.RNN | nn.GRU | nn.LSTM]]

    def __init__(
        self,
        vocab_size: int = 27,
        n_embd: int = 32,
        n_hidden: int = 256,
        n_layer: int = 1,
        dropout: float = 0.0,
        n_labels: int = 0,
    ) -> None:
        super().__init__()
        check_sizes(vocab_size=vocab_size, n_embd=n_embd, n_hidden=n_hidden, n_layer=n_layer)
        check_dropout(dropout)
        self.embedding = nn.Embedding(vocab_size + n_labels, n_embd)
        self.dropout = Dropout(dropout)
        between = dropout if n_layer > 1 else 0.0
        self.recurrent = type(self).layers(n_embd, n_hidden, n_layer, dropout=between)  # takes (L, B, C)
        self.output = nn.Linear(n_hidden, vocab_size)
        start_logits(self.output)

    def forward(self, names: Tensor) -> Tensor:
        """Logits float32 (B, L, V) for the character after each of `names`, int64 (B, L), which begin with token 0."""
        embedded = self.dropout(self.embedding(names.t()))
        hidden, _ = self.recurrent(embedded)  # (L, B, H)
        return self.output(self.dropout(hidden)).transpose(0, 1)

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits after one more character of every name.

        Args:
            ids: int64 (B,); token 0 in the first call.
            state: as the last call returned it; None in the first call.

        Returns:
            logits: float32 (B, V).
            state: tensors (n_layer, B, H); dimension 1 is the name, so that names can be selected from it.
        """
        before = state if state is None or len(state) > 1 else state[0]
        hidden, after = self.recurrent(self.dropout(self.embedding(ids[None])), before)
        return self.output(self.dropout(hidden[0])), after if isinstance(after, tuple) else (after,)
