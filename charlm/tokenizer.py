"""Characters and their ids. Dimension key: N characters of text, V = vocab_size."""

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from charlm.messages import first_few, shortened

BOUNDARY = 0
"""The id that starts and ends every name. It is not a character: a '.' in a name has an id of its own."""

IGNORED = -1
"""The target of padding in batches of whole names; losses leave it out."""

UNPRINTABLE = {
    "Cc": "a control character",
    "Cf": "an invisible character",
    "Zl": "a line separator",
    "Zp": "a line separator",
}
"""Unicode categories that are refused in names, and what their characters are called in messages."""

JOINERS = "\u200c\u200d"
"""Zero-width non-joiner and joiner: invisible, but letters where a script spells with them."""

LONGEST_NAME = 64
"""Characters of the longest name that is accepted by default."""

_OUT_OF_VOCABULARY = -1
_OUT_OF_VOCABULARY_BYTE = 255  # -1 as uint8
_SHOWN_LABELS = 10  # in a message
_CHUNK = 1 << 20  # characters encoded at a time, so that a large text is not copied as int32 as a whole


class CharTokenizer:
    """The table between characters and ids: the boundary is 0, the characters of `alphabet` are 1, 2, 3, ...

    If names have labels, such as F and M, the label's id begins a name in place of the boundary. These ids follow those
    of the characters, and models never predict them.

    Args:
        alphabet: distinct characters in the order of their ids; no line break.
        labels: distinct labels in the order of their ids.

    Raises:
        ValueError: an empty alphabet, a character or a label twice, or a line break in the alphabet.

    Example:
        >>> CharTokenizer("abc").encode("cab")
        [3, 1, 2]
    """

    def __init__(self, alphabet: str, labels: Sequence[str] = ()) -> None:
        if not alphabet or "\n" in alphabet:
            raise ValueError(f"alphabet {alphabet!r} needs at least one character and no line break")
        if repeated := sorted(ch for ch, times in Counter(alphabet).items() if times > 1):
            raise ValueError(
                f"alphabet {alphabet!r} has {''.join(repeated)!r} more than once; give each character once"
            )
        if len(set(labels)) < len(labels):
            raise ValueError(f"labels {list(labels)} has a label more than once; give each label once")
        self.alphabet = alphabet
        self.labels = tuple(labels)
        self.vocab_size = len(alphabet) + 1
        self._ids = {ch: i for i, ch in enumerate(alphabet, start=1)}

    def __repr__(self) -> str:
        return f"CharTokenizer({shortened(self.alphabet)})"

    @classmethod
    def from_text(cls, text: str) -> "CharTokenizer":
        """The tokenizer for the sorted distinct characters of `text`, without line breaks."""
        return cls("".join(sorted(set(text) - {"\n"})))

    @property
    def dtype(self) -> torch.dtype:
        """The smallest dtype that holds all ids, with labels: uint8, int16 for more than 256, int32 for over 32768."""
        ids = self.vocab_size + len(self.labels)
        return torch.uint8 if ids <= 1 << 8 else torch.int16 if ids <= 1 << 15 else torch.int32

    def start(self, label: str | None = None) -> int:
        """The id that begins a name: the boundary, or that of the name's label.

        Raises:
            ValueError: no such label, or none where names have labels.
        """
        if label is None and not self.labels:
            return BOUNDARY
        if label not in self.labels:
            if not self.labels:
                raise ValueError(f"label is {label!r}, and the model's names have no labels; leave it out")
            given = "the model's names have labels" if label is None else f"{label!r} is none of the model's labels"
            raise ValueError(f"{given}; give one of them as `label`: {first_few(self.labels, _SHOWN_LABELS)}")
        return self.vocab_size + self.labels.index(label)

    def encode(self, name: str) -> list[int]:
        """The ids of a name's characters, without the boundary.

        Raises:
            ValueError: a character outside the alphabet.
        """
        for position, ch in enumerate(name):
            if ch not in self._ids:
                raise ValueError(
                    f"name {name!r} has {ch!r} at position {position}, outside the alphabet"
                    f" {shortened(self.alphabet)}; correct the name or use a model whose alphabet has it"
                )
        return [self._ids[ch] for ch in name]

    def decode(self, ids: Iterable[int]) -> str:
        """The characters of `ids`; boundaries and labels are left out.

        Raises:
            ValueError: an id outside 0..V-1 that is no label's.
        """
        ids = [int(i) for i in ids]
        ids = [i for i in ids if not self.vocab_size <= i < self.vocab_size + len(self.labels)]
        if any(not 0 <= i < self.vocab_size for i in ids):
            raise ValueError(f"ids {ids} are not all in 0..{self.vocab_size - 1}, the ids of {self.alphabet!r}")
        return "".join(self.alphabet[i - 1] for i in ids if i != BOUNDARY)

    def encode_lines(self, text: str) -> Tensor:
        r"""Encode a list of names, without a Python loop over its characters.

        Args:
            text: names, each ended by "\n".

        Returns:
            `dtype` (N,): one id for every character, and the boundary for every "\n".

        Raises:
            ValueError: a character outside the alphabet; the message gives the line.
        """
        if self.vocab_size < _OUT_OF_VOCABULARY_BYTE and text.isascii():
            found = bytearray(text, "ascii").translate(self._byte_table)
            if (at := found.find(_OUT_OF_VOCABULARY_BYTE)) >= 0:
                raise ValueError(self._out_of_vocabulary(text, at))
            return torch.from_numpy(np.frombuffer(found, np.uint8))
        ids = torch.empty(len(text), dtype=self.dtype)
        for start in range(0, len(text), _CHUNK):
            chunk = self._table.take(code_points(text[start : start + _CHUNK]), mode="clip")
            if chunk.min() < 0:
                raise ValueError(self._out_of_vocabulary(text, start + int(chunk.argmin())))
            ids.numpy()[start : start + _CHUNK] = chunk
        return ids

    def decode_lines(self, ids: Tensor) -> list[str]:
        """Decode a list of names, without a Python loop over its characters.

        Args:
            ids: integers (N,) in 0..V-1; names, each ended by the boundary.
        """
        codes = np.array([ord("\n"), *map(ord, self.alphabet)], "<u4")
        return codes[ids.numpy()].tobytes().decode("utf-32-le").split("\n")[:-1]

    @cached_property
    def _table(self) -> np.ndarray:
        """Ids by code point, -1 for characters out of vocabulary; the last entry stands for all higher code points."""
        codes = [ord(ch) for ch in self.alphabet]
        table = np.full(max(*codes, ord("\n")) + 2, _OUT_OF_VOCABULARY, np.int32)
        table[codes] = np.arange(1, self.vocab_size)
        table[ord("\n")] = BOUNDARY
        return table

    @cached_property
    def _byte_table(self) -> bytes:
        """The same table for `bytes.translate`, which encodes ASCII fastest."""
        return self._table.take(np.arange(256), mode="clip").astype(np.uint8).tobytes()

    def _out_of_vocabulary(self, text: str, at: int) -> str:
        line = text.count("\n", 0, at) + 1
        start = text.rfind("\n", 0, at) + 1
        name = text[start : text.find("\n", at)]
        return (
            f"name {line}, {name!r}, has {text[at]!r} at position {at - start}, outside the alphabet"
            f" {shortened(self.alphabet)}; clean the names file or widen --data.alphabet"
        )


def check_vocab_size(vocab_size: int | None, alphabet: str) -> None:
    """Refuse a net with fewer ids than an alphabet needs.

    Args:
        vocab_size: V of the net; None is accepted.
        alphabet: the characters that the net has to know.

    Raises:
        ValueError: `vocab_size` is too small.
    """
    if vocab_size is not None and vocab_size <= len(alphabet):
        raise ValueError(f"vocab_size is {vocab_size}, and the alphabet needs {len(alphabet) + 1} ids; leave it out")


def code_points(text: str) -> np.ndarray:
    """uint8 (N,) where all N characters are ASCII, else int32 (N,)."""
    if text.isascii():
        return np.frombuffer(bytearray(text, "ascii"), np.uint8)
    return np.frombuffer(bytearray(text, "utf-32-le"), "<i4")
