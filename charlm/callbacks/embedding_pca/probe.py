"""How well a linear probe tells the kinds of rows apart. Dimension key: V rows, C columns, G kinds, S shuffles."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_MOST_ROWS, _MOST_KINDS = 500, 8


class Probe(NamedTuple):
    """The AUC (0.5 without structure, 1 at best), what 95 % of shuffled kinds do not exceed (or nan), the kinds."""

    auc: float
    by_chance: float
    what: str

    def note(self) -> str:
        """A line for a picture."""
        return f"Linear probe, {self.what}: AUC {self.auc:.2f}, by chance up to {self.by_chance:.2f}"


def told_apart(table: Tensor, kinds: Sequence[str], shuffles: int = 100) -> Probe | None:
    """Measure how well the rows of a table show their kinds, such as vowel and consonant.

    A ridge regression on all columns predicts the kind of each row from the other rows (leave one out), with a penalty
    of the mean variance of a component. The result is the area under the ROC curve, averaged over the kinds.

    Args:
        table: (V, C), any floating type; of more than 500 rows a fixed random sample is taken.
        kinds: V texts; rows of the kind "", of single rows, and of kinds beyond the eight most frequent are left out.
        shuffles: how often the kinds are shuffled to see what chance does, with a generator of its own.

    Returns:
        None if there are fewer than two kinds, or the table has no variance or values that are not finite.

    Example:
        >>> table = torch.tensor([[0.0], [0.2], [0.4], [5.0], [5.2]])
        >>> told_apart(table, ["low", "low", "low", "high", "high"]).auc
        1.0

    Source: Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, equation 7.64 (leave one out).
    """
    common = {kind for kind, count in Counter(filter(None, kinds)).most_common(_MOST_KINDS) if count > 1}
    names = [kind for kind in dict.fromkeys(kinds) if kind in common]
    generator = torch.Generator().manual_seed(0)
    rows = torch.tensor([row for row, kind in enumerate(kinds) if kind in common], dtype=torch.long)
    rows = rows[torch.randperm(len(rows), generator=generator)[:_MOST_ROWS]]
    table = table[rows.to(table.device)].to("cpu", torch.float64)
    products = (table - table.mean(0)) @ (table - table.mean(0)).T
    penalty = float(products.trace()) / max(1, min(table.shape))
    if len(names) < 2 or not 0 < penalty < float("inf"):
        return None
    inverse = torch.linalg.inv(products + penalty * torch.eye(len(rows), dtype=torch.float64))
    orders = [torch.arange(len(rows)), *(torch.randperm(len(rows), generator=generator) for _ in range(shuffles))]
    own = torch.tensor([names.index(kinds[row]) for row in rows.tolist()])
    targets = torch.nn.functional.one_hot(own[torch.stack(orders)], len(names)).double()  # (1 + S, V, G)
    ranks = (targets - inverse @ targets / inverse.diagonal()[:, None]).argsort(1).argsort(1) + 1.0
    inside = targets.sum(1)
    aucs = ((ranks * targets).sum(1) - inside * (inside + 1) / 2) / (inside * (len(rows) - inside))
    auc, *shuffled = aucs.nanmean(1).tolist()
    by_chance = float(torch.tensor(shuffled).quantile(0.95)) if shuffled else float("nan")
    return Probe(auc, by_chance, " or ".join(names) if len(names) == 2 else f"{len(names)} kinds")
