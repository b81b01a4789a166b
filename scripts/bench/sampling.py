"""Measures how names that meet conditions are found: how many candidates are kept, how long it takes, how exact it is.

python scripts/bench/sampling.py --checkpoint RUN
"""

import time

import torch
from jsonargparse import auto_cli
from torch import Tensor

from charlm.cli.table import Cell, Table, render
from charlm.inference.candidates import Candidates
from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.conditions import Conditions
from charlm.inference.lookahead import Lookahead
from charlm.inference.sampling import draw_names
from charlm.runs.load_checkpoint import Checkpoint, load_checkpoint
from charlm.tokenizer import LONGEST_NAME

CONDITIONS = (
    Conditions(suffix="lyn"),
    Conditions(match="^[aeiou].*a$"),
    Conditions(match="^[^aeiou]*$"),
    Conditions(min_length=12),
    Conditions(contains="zz"),
    Conditions(prefix="q", suffix="z"),
    Conditions(contains="qq"),
)
COLUMNS = ("conditions", "met by 1 draw of", "kept", "by look-ahead", "left out", "s for 100 names")
_CANDIDATES = 1 << 16


class Watched(Candidates):
    """Candidates that are counted, with and without a look-ahead."""

    def __init__(self, loaded: Checkpoint, conditions: Conditions) -> None:
        super().__init__(loaded.net, loaded.tokenizer, conditions, CharacterSampler(), seed=0, cut=LONGEST_NAME)
        self.weights: list[Tensor] = []

    def _draw(self, rows: int, lookahead: Lookahead | None = None) -> tuple[list[str], Tensor, Tensor]:
        drawn = super()._draw(rows, lookahead)
        if lookahead is not None:
            self.weights.append(drawn[2])
        return drawn


def main(checkpoint: str | None = None) -> None:
    """Print a row for each condition.

    "kept" is the share of the candidates that became names once it is decided how they are drawn. "left out" is the
    probability that a look-ahead gives to other names, since names with p / q above the greatest of its trial are drawn
    as if they had that. Seconds are CPU time.

    Args:
        checkpoint: a .ckpt file, or a run by directory, name or number; by default the newest run in lightning_logs.
    """
    loaded = load_checkpoint(checkpoint)
    rows = [measured(loaded, conditions) for conditions in CONDITIONS]
    print(render(Table(COLUMNS, rows), "markdown"))


@torch.inference_mode()
def measured(loaded: Checkpoint, conditions: Conditions) -> list[Cell]:
    """A row of the table."""
    watched = Watched(loaded, conditions)
    found = plain = met = 0
    for batch in watched.batches():
        names = [name for name in batch if name is not None]
        if watched.lookahead is None:
            met, plain = met + len(names), watched.drawn
        else:
            found += len(names)
        if watched.drawn >= _CANDIDATES:
            break
    rarity, seconds = round(1 / (watched.share or met / plain)), seconds_for(100, loaded, conditions)
    if watched.lookahead is None:
        return [str(conditions), rarity, met / plain, "no", 0.0, seconds]
    weights = torch.cat(watched.weights)
    greatest = torch.cat(watched.weights[:2]).max()
    left_out = float((weights - greatest).clamp(min=0).sum() / weights.sum())
    return [str(conditions), rarity, found / (watched.drawn - plain), "yes", left_out, seconds]


def seconds_for(n: int, loaded: Checkpoint, conditions: Conditions) -> float:
    """CPU seconds to draw so many names."""
    start = time.process_time()
    asked = (loaded.tokenizer, n, conditions, CharacterSampler())
    for _ in draw_names([loaded.net], *asked, seed=0, exclude=(), distinct=False, cut=LONGEST_NAME):
        pass
    return time.process_time() - start


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
