"""What the recurrent nets share. Dimension key: B names, L positions, C = n_embd, H = n_hidden, V = vocab_size."""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from charlm.nets.parts.dropout import Dropout
from charlm.nets.parts.layers import start_logits
from charlm.nets.parts.packing import inside_names
from charlm.nets.parts.sizes import check_dropout, check_sizes

State = tuple[Tensor, ...]


class Recurrent(nn.Module):
    """Characters, embedded, through torch's recurrent layers to the logits of the next: what RNN, GRU and LSTM share.

    Args:
        vocab_size: V, the characters and the boundary.
        n_embd: C, numbers per character.
        n_hidden: H, units of a layer.
        n_layer: recurrent layers, each reading the one below.
        dropout: share of the units that is dropped in training, after the embedding and after each layer.

    Raises:
        ValueError: a size below 1, or `dropout` outside [0, 1).
    """

    takes = "names"
    block_size = None
    """No longest context: the state holds what it can of all characters before."""
    layers: ClassVar[type[nn.RNN | nn.GRU | nn.LSTM]]

    def __init__(
        self, vocab_size: int = 27, n_embd: int = 32, n_hidden: int = 256, n_layer: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_sizes(vocab_size=vocab_size, n_embd=n_embd, n_hidden=n_hidden, n_layer=n_layer)
        check_dropout(dropout)
        self.embedding = nn.Embedding(vocab_size, n_embd)
        self.dropout = Dropout(dropout)
        between = dropout if n_layer > 1 else 0.0
        self.recurrent = type(self).layers(n_embd, n_hidden, n_layer, dropout=between)  # positions come first
        self.output = nn.Linear(n_hidden, vocab_size)
        start_logits(self.output)

    def forward(self, names: Tensor) -> Tensor:
        """Logits float32 (B, L, V) for the character after each of `names`, int64 (B, L); the boundary comes first.

        In training what comes after a name's end is left out, where the longest names are first: logits of 0.
        """
        if not self.training:
            return self.output(self.recurrent(self.embedding(names.t()))[0]).transpose(0, 1)
        inside = inside_names(names).t()
        embedded = self.dropout(self.embedding(names.t()[inside]))
        logits = self.output(self.dropout(self._read(embedded, inside.sum(1))))
        padded = logits.new_zeros(*inside.shape, logits.shape[1]).masked_scatter(inside[..., None], logits)
        return padded.transpose(0, 1)

    def step(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits after one more character of every name.

        Args:
            ids: int64 (B,), the boundary at first.
            state: as the last call returned it; None at first.

        Returns:
            logits: float32 (B, V).
            state: tensors (n_layer, B, H); dimension 1 is the name, so that names can be chosen from it.
        """
        held = state if state is None or len(state) > 1 else state[0]
        hidden, held = self.recurrent(self.dropout(self.embedding(ids[None])), held)
        return self.output(self.dropout(hidden[0])), held if isinstance(held, tuple) else (held,)

    def _read(self, embedded: Tensor, rows: Tensor) -> Tensor:
        """The last layer's units (S, H) after each of `embedded`, (S, C): position after position, of `rows` names."""
        return self.recurrent(PackedSequence(embedded, rows.cpu()))[0].data
