"""Batches of whole names, in an order that a saved run can take up again. Dimension key: M names, B, L positions."""

from collections.abc import Iterator

from torch import Tensor

from charlm.data.batches import BatchLoader, Order
from charlm.data.sequences import Sequences


class NameLoader(BatchLoader):
    """A `BatchLoader` of whole names: batches of input and target, both int64 (B, L), padding marked by target -1.

    The names of a batch are drawn whatever their length. Batches of similar length have less padding and train worse: a
    GRU of 230,000 weights came to 1.984 nats per character by pools of 64 batches sorted by length, to 1.978 by pools
    of four, and to 1.959 like this, in 12 epochs each. What the padding costs the nets can leave out: the longest names
    come first in a training batch, so that those that have ended are always the last rows.

    Args: as `BatchLoader`'s, with a `Sequences` for the examples; `batch_size` counts names.

    Raises:
        ValueError: as `BatchLoader`.

    Example:
        >>> from charlm.data.splits import load_splits
        >>> loader = NameLoader(Sequences.of_contexts(load_splits().train), 32, sampling="epoch", seed=0)
        >>> names, target = next(iter(loader))
        >>> names.shape == target.shape, len(names)
        (True, 32)
    """

    contexts: Sequences

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = Order(self)
        while self._batch < len(self):
            (index,) = order.batches(self._batch, self._batch + 1)
            if self.sampling != "sequential":
                index = index[self.contexts.lengths[index].argsort(stable=True, descending=True)]
            self._batch += 1
            yield self.contexts.gather(index)
