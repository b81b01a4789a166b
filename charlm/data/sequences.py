"""From names to padded inputs and targets. Dimension key: M names, B batch, L positions, S stream length."""

from collections.abc import Sequence

import torch
from torch import Tensor

from charlm.data.contexts import Contexts, StreamAttributes, encode_names
from charlm.tokenizer import BOUNDARY, IGNORED, CharTokenizer


class Sequences:
    """The whole names of one split. At each position the input is the character before the target, first the boundary.

    The targets are exactly those of `Contexts` on the same stream, so losses are means over the same characters.

    Args:
        stream: (S,) uint8, int16 or int32; names, each ended by the boundary.
        attributes: the weights and labels of the stream; None: there are none.
    """

    def __init__(self, stream: Tensor, attributes: StreamAttributes | None = None) -> None:
        self.stream = stream
        ends = (stream == BOUNDARY).nonzero().squeeze(1)
        self.starts = torch.cat([ends.new_zeros(1), ends[:-1] + 1])[: len(ends)]
        self.lengths = ends - self.starts + 1  # int64 (M,): positions of each name, including its end
        of_names = (None if part is None else part[self.starts] for part in attributes or StreamAttributes())
        self.example_weights, self.labels = of_names

    @classmethod
    def of_contexts(cls, contexts: Contexts) -> "Sequences":
        """The whole names of a split.

        Raises:
            ValueError: the split does not hold whole names, because single examples were split or left out.
        """
        if contexts.positions is not None:
            raise ValueError(
                "this model takes whole names, and `split_by` pair and `pad` false cut them; leave these out"
            )
        return cls(contexts.stream[contexts.block_size :], contexts.attributes)

    def __len__(self) -> int:
        return len(self.lengths)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The names with the given numbers, padded to the longest of them.

        Args:
            index: int64 (B,), each in 0..M-1, at least one.

        Returns:
            names: int64 (B, L), the boundary or the label and then the characters; padded with the boundary.
            target: int64 (B, L), the characters and then the boundary; padded with -1, which losses leave out.
        """
        starts, lengths = self.starts[index, None], self.lengths[index, None]
        position = torch.arange(int(lengths.max()))
        inside = position < lengths
        ids = self.stream[(starts + position).clamp_(max=len(self.stream) - 1)].long()
        target = torch.where(inside, ids, IGNORED)
        names = torch.full_like(target, BOUNDARY)
        if self.labels is not None:
            names[:, 0] = self.labels[index]
        names[:, 1:] = torch.where(inside[:, 1:], target[:, :-1], BOUNDARY)
        return names, target

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All M names in order, in the form of `gather`."""
        return self.gather(torch.arange(len(self)))


def known_before(names: Tensor) -> Tensor:
    """The inputs up to each position of names (B, L): int64 (B, L, L), with boundaries after them."""
    L = names.shape[1]
    return names[:, None] * torch.ones(L, L, dtype=names.dtype, device=names.device).tril()


def build_sequences(names: Sequence[str], tokenizer: CharTokenizer) -> tuple[Tensor, Tensor]:
    """Pair every name with itself, shifted by one character.

    Args:
        names: names over the tokenizer's alphabet, at least one.
        tokenizer: the characters and their ids.

    Returns:
        names: int64 (B, L), the boundary and then the characters; padded with the boundary.
        target: int64 (B, L), the characters and then the boundary; padded with -1, which losses leave out.

    Raises:
        ValueError: no names, a character outside the alphabet, or a line break in a name.

    Example:
        >>> ids, target = build_sequences(["ab", "b"], CharTokenizer("ab"))
        >>> ids.tolist(), target.tolist()
        ([[0, 1, 2], [0, 2, 0]], [[1, 2, 0], [2, 0, -1]])
    """
    if not names:
        raise ValueError("there are no names; give at least one")
    return Sequences(encode_names(names, tokenizer)).tensors()
