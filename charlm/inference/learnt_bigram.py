"""The picture of a bigram that was learnt. Dimension key: V = characters shown."""

from typing import TYPE_CHECKING

import torch

from charlm.data.splits import Splits
from charlm.inference.bigram_table import MOST_LABELS, bigram_heatmap, character_labels
from charlm.nets.bigram import Bigram
from charlm.nets.counts import CountBigram
from charlm.tokenizer import CharTokenizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learnt_bigram(net: Bigram, tokenizer: CharTokenizer, splits: Splits | None) -> "Figure":
    """Its probabilities as a table of colours; in the cells the counts of what it was trained on.

    Args:
        net: the bigram.
        tokenizer: its characters.
        splits: the names it was trained on; None: the cells have the probabilities.
    """
    size = tokenizer.vocab_size
    after = torch.arange(len(net.W), device=net.W.device)[:, None]
    learnt = net(after).detach().float().softmax(1)[:size, :size]
    title, written = "probabilities that were learnt", None
    if splits is not None and size <= MOST_LABELS:
        counts = CountBigram.from_contexts(splits.train, len(net.W), k=0).counts
        title, written = "colour: probability that was learnt, number: times in train", [counts[:size, :size]]
    labels = character_labels(tokenizer.alphabet)
    return bigram_heatmap([(title, learnt)], labels, size <= MOST_LABELS, written)
