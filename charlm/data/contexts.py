"""From names to windows and targets. Dimension key: N examples, B batch, T = block_size, S stream length."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from charlm.tokenizer import BOUNDARY, CharTokenizer


class Contexts:
    """The examples of one split, kept as the stream of its characters and gathered by index when asked for.

    Every id of the stream is a target once; its context is the T ids before it, the boundary where the name had not
    begun. So the stream alone, one byte a character for up to 255 letters, holds all examples of any block size.

    Args:
        stream: (S,) uint8 or int32, names each ended by the boundary.
        block_size: T, characters of context, >= 1.
        positions: int64 (N,), the targets that count, as indices into `stream`; None: all S of them.

    Raises:
        ValueError: `block_size` < 1.
    """

    def __init__(self, stream: Tensor, block_size: int, positions: Tensor | None = None) -> None:
        if block_size < 1:
            raise ValueError(f"block_size is {block_size}; it must be at least 1 character of context")
        self.stream = F.pad(stream, (block_size, 0), value=BOUNDARY)
        self.block_size = block_size
        self.positions = positions
        self._window = torch.arange(block_size + 1)[:, None]

    def __len__(self) -> int:
        return len(self.stream) - self.block_size if self.positions is None else len(self.positions)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The examples of the given numbers.

        Args:
            index: int64 (B,), each in 0..N-1.

        Returns:
            context: int64 (B, T), oldest first.
            target: int64 (B,).
        """
        target = index if self.positions is None else self.positions[index]
        rows = self.stream[self._window + target]  # (T + 1, B)
        for older in range(self.block_size - 2, -1, -1):  # what lies before a boundary belongs to another name
            rows[older] *= rows[older + 1] != BOUNDARY
        window = rows.T.long()
        return window[:, :-1].contiguous(), window[:, -1].contiguous()

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All N examples in order, as `gather` gives them."""
        return self.gather(torch.arange(len(self)))


def name_positions(stream: Tensor) -> Tensor:
    """int64 (S,): the place of every id within its name, 0 for the first character."""
    ends = torch.nonzero(stream == BOUNDARY).squeeze(1)
    starts = F.pad(ends + 1, (1, 0))[:-1]
    return torch.arange(len(stream)) - starts.repeat_interleave(ends + 1 - starts)


def notebook_positions(stream: Tensor, block_size: int) -> Tensor:
    """The targets of the course notebook, which does not pad: its first window is the boundary and T - 1 characters.

    So a name's first T - 1 characters are never predicted, and names shorter than T - 1 give no example.

    Returns:
        int64 (N,): indices into `stream`.
    """
    return torch.nonzero(name_positions(stream) >= block_size - 1).squeeze(1)


def build_contexts(
    names: Sequence[str], tokenizer: CharTokenizer, block_size: int, pad: bool = True
) -> tuple[Tensor, Tensor]:
    """Pair every token of every name with the `block_size` tokens before it.

    Args:
        names: names over the tokenizer's alphabet.
        tokenizer: the character table; its token 0 pads on the left and ends each name.
        block_size: context length T in characters, >= 1.
        pad: False leaves out each name's first T - 1 targets, as the course notebook does.

    Returns:
        context: int64 (N, T), oldest token first; N = sum of len(name) + 1 over `names` where `pad`.
        target: int64 (N,), the token that follows; 0 where the name ends.

    Raises:
        ValueError: `block_size` < 1, a character outside the alphabet, or a line break in a name.

    Example:
        >>> context, target = build_contexts(["ab"], CharTokenizer("ab"), block_size=2)
        >>> context.tolist(), target.tolist()
        ([[0, 0], [0, 1], [1, 2]], [1, 2, 0])

    Source: Bengio et al. 2003, JMLR 3:1137-1155, section 2, with characters for words.
    """
    for name in names:
        if "\n" in name:
            raise ValueError(f"name {name!r} has a line break in it; give every name by itself")
    stream = tokenizer.encode_lines("".join(f"{name}\n" for name in names))
    positions = None if pad else notebook_positions(stream, block_size)
    return Contexts(stream, block_size, positions).tensors()
