"""From names to contexts and targets. Dimension key: N examples, B batch, T = block_size, S stream length."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from charlm.tokenizer import BOUNDARY, CharTokenizer

_EXAMPLES_AT_ONCE = 1 << 14  # few enough for the processor's cache to hold the intermediate arrays


class StreamAttributes(NamedTuple):
    """The weights and labels of the targets of a stream; each target has those of its name.

    Args:
        weights: float64 (S,), how often the name counts; None: once.
        labels: uint8, int16 or int32 (S,), the id of the name's label; None: names have no labels.
    """

    weights: Tensor | None = None
    labels: Tensor | None = None


class Contexts:
    """The examples of one split, stored as one stream of ids and gathered by number on demand.

    Every id of the stream is a target once; its context is the T ids before it, with boundaries before the name's
    beginning. So the stream alone, one byte per character for up to 255 letters, holds all examples for any T. Where
    names have labels, the label stands in place of these boundaries, and in the first of the T places of every window,
    so that none forgets it; a window of one place begins with the label only.

    Args:
        stream: (S,) uint8, int16 or int32; names, each ended by the boundary.
        block_size: T, the context length in characters, >= 1.
        positions: int64 (N,), indices into `stream` of the targets to use; None: all S of them.
        attributes: the weights and labels of the targets; None: there are none.

    Raises:
        ValueError: `block_size` < 1.
    """

    def __init__(
        self,
        stream: Tensor,
        block_size: int,
        positions: Tensor | None = None,
        attributes: StreamAttributes | None = None,
    ) -> None:
        if block_size < 1:
            raise ValueError(f"block_size is {block_size}; it must be at least 1 character of context")
        self.stream = F.pad(stream, (block_size, 0), value=BOUNDARY)
        self.block_size = block_size
        self.positions = positions
        self.attributes = attributes or StreamAttributes()

    @classmethod
    def of_padded(
        cls, padded: Tensor, block_size: int, positions: Tensor | None, attributes: StreamAttributes
    ) -> "Contexts":
        """Build from a stream (T + S,) that begins with T boundaries already, without copying it."""
        contexts = cls(padded[:0], block_size, positions, attributes)
        contexts.stream = padded
        return contexts

    def with_block_size(self, block_size: int) -> "Contexts":
        """The same targets in the same order, with contexts of another length."""
        return Contexts(self.stream[self.block_size :], block_size, self.positions, self.attributes)

    def without_labels(self) -> "Contexts":
        """The same targets, with boundaries in place of the labels."""
        attributes = self.attributes._replace(labels=None)
        return Contexts(self.stream[self.block_size :], self.block_size, self.positions, attributes)

    @property
    def example_weights(self) -> Tensor | None:
        """float64 (N,), how often each example counts; None: once."""
        of_all = self.attributes.weights
        return of_all if of_all is None or self.positions is None else of_all[self.positions]

    def __repr__(self) -> str:
        return f"Contexts({len(self):,} examples, block_size={self.block_size})"

    def __len__(self) -> int:
        return len(self.stream) - self.block_size if self.positions is None else len(self.positions)

    def gather(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The examples with the given numbers.

        Args:
            index: int64 (B,), each in 0..N-1.

        Returns:
            context: int64 (B, T), oldest character first.
            target: int64 (B,).

        Raises:
            IndexError: a number outside 0..N-1.
        """
        at = index if self.positions is None else self.positions[index]
        context, target = np.empty((len(at), self.block_size), np.int64), np.empty(len(at), np.int64)
        self._fill(context, target, at.numpy())
        return torch.from_numpy(context), torch.from_numpy(target)

    def tensors(self) -> tuple[Tensor, Tensor]:
        """All N examples in order, in the form of `gather`."""
        context, target = np.empty((len(self), self.block_size), np.int64), np.empty(len(self), np.int64)
        for start in range(0, len(self), _EXAMPLES_AT_ONCE):
            some = slice(start, min(start + _EXAMPLES_AT_ONCE, len(self)))
            at = some if self.positions is None else self.positions[some].numpy()
            self._fill(context[some], target[some], at)
        return torch.from_numpy(context), torch.from_numpy(target)

    def _fill(self, context: np.ndarray, target: np.ndarray, at: np.ndarray | slice) -> None:
        """Write the examples whose targets are at `at` in the stream, column by column from the newest character."""
        stream = self.stream.numpy()
        target[:] = stream[self.block_size :][at]
        narrow = np.empty(context.shape, stream.dtype)  # widened at the end: twice as fast as writing int64 columns
        in_name: np.ndarray | bool = True
        for column in range(self.block_size - 1, -1, -1):
            ids = stream[column:][at] * in_name  # before a boundary is another name, which becomes boundaries
            narrow[:, column] = ids
            in_name = ids != BOUNDARY
        if self.attributes.labels is not None:
            label = self.attributes.labels.numpy()[at]
            np.copyto(narrow, label[:, None], where=narrow == BOUNDARY)
            if self.block_size > 1:
                narrow[:, 0] = label
        context[:] = narrow


def notebook_positions(stream: Tensor, block_size: int) -> Tensor:
    """The targets of the course notebook, which does not pad: its first window is a boundary and T - 1 characters.

    A name's first T - 1 characters are therefore never predicted, and names shorter than T - 1 give no example.

    Returns:
        int64 (N,): indices into `stream`.
    """
    fills_window = torch.ones(len(stream), dtype=torch.bool)
    fills_window[: block_size - 1] = False
    for distance in range(1, block_size):  # no boundary among the T - 1 ids before
        fills_window[distance:] &= stream[:-distance] != BOUNDARY
    return torch.nonzero(fills_window).squeeze(1)


def build_contexts(
    names: Sequence[str], tokenizer: CharTokenizer, block_size: int, pad: bool = True
) -> tuple[Tensor, Tensor]:
    """Pair every token of every name with the `block_size` tokens before it.

    Args:
        names: names over the tokenizer's alphabet.
        tokenizer: the characters and their ids; the boundary, id 0, pads on the left and ends each name.
        block_size: T, the context length in characters, >= 1.
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
