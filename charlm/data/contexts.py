"""From names to windows and targets. Dimension key: N examples, B batch, T = block_size, S stream length."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from charlm.tokenizer import BOUNDARY, CharTokenizer

_BLOCK = 1 << 14  # examples laid out at a time, so that what is between the stream and them stays in the cache


class Contexts:
    """The examples of one split, kept as the stream of its characters and gathered by index when asked for.

    Every id of the stream is a target once; its context is the T ids before it, the boundary where the name had not
    begun. So the stream alone, one byte a character for up to 255 letters, holds all examples of any block size.

    Args:
        stream: (S,) uint8, int16 or int32, names each ended by the boundary.
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

    @classmethod
    def of_padded(cls, padded: Tensor, block_size: int, positions: Tensor | None = None) -> "Contexts":
        """The same from a stream that has T boundaries before it, (T + S,), which is kept without a copy."""
        contexts = cls(padded[:0], block_size, positions)
        contexts.stream = padded
        return contexts

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
        at = index if self.positions is None else self.positions[index]
        context, target = np.empty((len(at), self.block_size), np.int64), np.empty(len(at), np.int64)
        self._fill(context, target, at.numpy())
        return torch.from_numpy(context), torch.from_numpy(target)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All N examples in order, as `gather` gives them."""
        context, target = np.empty((len(self), self.block_size), np.int64), np.empty(len(self), np.int64)
        for start in range(0, len(self), _BLOCK):
            block = slice(start, min(start + _BLOCK, len(self)))
            at = block if self.positions is None else self.positions[block].numpy()
            self._fill(context[block], target[block], at)
        return torch.from_numpy(context), torch.from_numpy(target)

    def _fill(self, context: np.ndarray, target: np.ndarray, at: np.ndarray | slice) -> None:
        """Lay out the examples whose targets stand at `at` in the stream, from the target back to the oldest."""
        stream = self.stream.numpy()
        target[:] = stream[self.block_size :][at]
        narrow = np.empty(context.shape, stream.dtype)  # widened in one go: half the time of writing int64 columns
        begun: np.ndarray | bool = True
        for column in range(self.block_size - 1, -1, -1):
            ids = stream[column:][at] * begun  # what lies before a boundary belongs to another name
            narrow[:, column] = ids
            begun = ids != BOUNDARY
        context[:] = narrow


def notebook_positions(stream: Tensor, block_size: int) -> Tensor:
    """The targets of the course notebook, which does not pad: its first window is the boundary and T - 1 characters.

    So a name's first T - 1 characters are never predicted, and names shorter than T - 1 give no example.

    Returns:
        int64 (N,): indices into `stream`.
    """
    inside = torch.ones(len(stream), dtype=torch.bool)
    inside[: block_size - 1] = False
    for older in range(1, block_size):  # no boundary among the T - 1 before
        inside[older:] &= stream[:-older] != BOUNDARY
    return torch.nonzero(inside).squeeze(1)


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
    stream = encode_names(names, tokenizer)
    positions = None if pad else notebook_positions(stream, block_size)
    return Contexts(stream, block_size, positions).tensors()


def encode_names(names: Sequence[str], tokenizer: CharTokenizer) -> Tensor:
    """The stream of a list of names: integers (S,), each name ended by the boundary.

    Raises:
        ValueError: a character outside the alphabet, or a line break in a name.
    """
    for name in names:
        if "\n" in name:
            raise ValueError(f"name {name!r} has a line break in it; give every name by itself")
    return tokenizer.encode_lines("".join(f"{name}\n" for name in names))
