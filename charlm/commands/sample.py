"""`charlm sample`: new names from a checkpoint."""

import sys
from collections.abc import Collection, Iterable

from charlm.checkpoints import load_checkpoint
from charlm.commands.training_names import training_splits
from charlm.sampling import sample_names


def sample(
    checkpoint: str | None = None,
    n: int = 20,
    prefix: str = "",
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
    new_only: bool = False,
    mark: bool = False,
    max_length: int = 30,
) -> None:
    """Print names drawn from a trained model, one a line.

    Args:
        checkpoint: a .ckpt file or a run directory; by default the newest run in lightning_logs.
        n: how many names.
        prefix: how every name begins.
        temperature: above 0; 1 is the model's own distribution, less gives the likeliest names, more is wilder.
        top_k: draw from the k most likely characters only; by default from all.
        seed: the same seed gives the same names.
        new_only: only names that the model was not trained on.
        mark: write "new" or "in train" after each name and a tab.
        max_length: the longest name in characters, the prefix included; longer ones are cut.

    Raises:
        OSError: no such checkpoint.
        ValueError: a bad checkpoint or argument, or the training names are wanted and cannot be read.
    """
    loaded = load_checkpoint(checkpoint)
    known: set[str] | None = None
    if new_only or mark:
        try:
            known = set(training_splits(loaded).names("train"))
        except ValueError as error:
            if new_only:
                raise ValueError(f"{error}; or sample without --new-only") from error
            print(f"names are not marked: {error}", file=sys.stderr)
    names = sample_names(
        loaded.net,
        loaded.tokenizer,
        n,
        prefix=prefix.lower() if loaded.data.get("lowercase") else prefix,
        temperature=temperature,
        top_k=top_k,
        seed=seed,
        max_length=max_length,
        exclude=known if new_only and known else (),
    )
    marked = mark_names(names, known) if mark and known is not None else [(name,) for name in names]
    print("\n".join("\t".join(line) for line in marked))


def mark_names(names: Iterable[str], train_names: Collection[str]) -> list[tuple[str, str]]:
    """Each name with "in train" if it is one of `train_names`, else "new" (it may still be a val or test name)."""
    known = frozenset(train_names)
    return [(name, "in train" if name in known else "new") for name in names]
