"""Names for a Trainer."""

import logging
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from charlm.data.batches import BatchLoader
from charlm.data.contexts import Contexts
from charlm.data.download import MAKEMORE, download_makemore, refuse_address
from charlm.data.name_batches import NameLoader
from charlm.data.sequences import Sequences
from charlm.data.splits import DEFAULT_SPLIT, Part, Shares, Splits, load_splits
from charlm.nets.interface import check_longest
from charlm.tokenizer import LONGEST_NAME, CharTokenizer

log = logging.getLogger(__name__)

_MOST_KNOWN = 1_000_000  # names: as Python's strings, in sets, they take about 200 MB


class NamesDataModule(pl.LightningDataModule):
    """Names from a file, as batches of context and next character, or of whole names, as the model takes them.

    Args:
        path: a UTF-8 file with one name a line; "makemore": the course's 32,033 names, downloaded once; null: the names
            that come with charlm.
        alphabet: the characters names may have, in the order of their ids; null: those that occur, sorted.
        block_size: context length T in characters, >= 1. The model takes it from here. A Transformer or a bag of words
            has as many positions: the longest name and one.
        batch_size: examples a training batch and process, names for models that take them whole; null: the whole split
            in one batch.
        split: shares of train, val and test; they sum to 1.
        split_by: "name": all copies of a name in one split; "line": every line for itself, as in the lectures, so that
            repeated names leak; "pair": every context/target pair for itself, as in the course notebooks.
        split_seed: seed of the split.
        lowercase: turn all names to lower case.
        sampling: "epoch": every example once an epoch, shuffled; "replacement": every batch drawn anew.
        shuffle_seed: seed of the order of the training batches; null draws from torch's global generator.
        pad: false gives the windows of the course notebook, which do not pad: a name's first T - 1 characters are never
            predicted.
        eval_batch_size: examples a batch in validation, test and prediction.
        max_length: the longest name accepted, in characters.

    Raises:
        OSError: the file cannot be read or downloaded.
        ValueError: bad names, with their line, or arguments outside the ranges above.
    """

    def __init__(
        self,
        path: str | None = None,
        alphabet: str | None = None,
        block_size: int = 3,
        batch_size: int | None = 32,
        split: Shares = DEFAULT_SPLIT,
        split_by: Literal["name", "line", "pair"] = "name",
        split_seed: int = 42,
        lowercase: bool = False,
        sampling: Literal["epoch", "replacement"] = "epoch",
        shuffle_seed: int | None = 0,
        pad: bool = True,
        eval_batch_size: int = 8192,
        max_length: int = LONGEST_NAME,
    ) -> None:
        super().__init__()
        _refuse_sizes(batch_size=batch_size, eval_batch_size=eval_batch_size, block_size=block_size)
        if path is not None and path != MAKEMORE:
            refuse_address(path)
            path = str(Path(path).absolute())  # so that a checkpoint finds its names from any working directory
        split = list(split)  # type: ignore[assignment]  # plain, as a checkpoint and YAML have it
        # Not to the logger by itself: the model has an `alphabet` too, and Lightning refuses two values under one name.
        self.save_hyperparameters(logger=False)

    @cached_property
    def splits(self) -> Splits:
        """The names, read and split when first asked for."""
        given = self.hparams
        loader_only = {"batch_size", "sampling", "shuffle_seed", "eval_batch_size"}
        splits = load_splits(**{key: value for key, value in given.items() if key not in loader_only})
        _report(splits)
        return splits

    @property
    def tokenizer(self) -> CharTokenizer:
        """The characters and their ids."""
        return self.splits.tokenizer

    @property
    def alphabet(self) -> str:
        """The characters in the order of their ids, from 1 on."""
        return self.tokenizer.alphabet

    @property
    def vocab_size(self) -> int:
        """V, the characters and the boundary."""
        return self.tokenizer.vocab_size

    def prepare_data(self) -> None:
        """Download the course's list where it is asked for, in one process only."""
        if self.hparams["path"] == MAKEMORE:
            download_makemore()

    def setup(self, stage: str) -> None:
        """Read and split before the first step, so that bad names are said at once."""
        self.splits  # noqa: B018

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of context int64 (B, T) and target int64 (B,); of whole names, both int64 (B, L)."""
        given = self.hparams
        return self._loader(self.splits.train, given["batch_size"], given["sampling"], given["shuffle_seed"])

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """The val split in order; nothing where it has no share."""
        return self._in_order(self.splits.val)

    def test_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """The test split in order; nothing where it has no share."""
        return self._in_order(self.splits.test)

    def predict_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """The test split in order."""
        return self._in_order(self.splits.test)

    def whole_splits(self) -> dict[Part, BatchLoader]:
        """Every split that has examples, in order and in large batches, whole in each process: for one to report on."""
        parts: dict[Part, Contexts] = {"train": self.splits.train, "val": self.splits.val, "test": self.splits.test}
        size = self.hparams["eval_batch_size"]
        return {part: self._loader(contexts, size, whole=True) for part, contexts in parts.items() if len(contexts)}

    def known_names(self) -> dict[str, list[str]]:
        """The names of train and val, repeated ones included, for the callback NameSamples.

        Where every context is split for itself, all names are train's. Of more than a million names none are given.
        """
        splits = self.splits
        if len(splits.corpus) > _MOST_KNOWN:
            log.info(f"{len(splits.corpus):,} names are too many to look up: those drawn are not told from known ones")
            return {}
        parts: tuple[Part, ...] = ("train",) if splits.name_split is None else ("train", "val")
        return {part: splits.names(part) for part in parts}

    def state_dict(self) -> dict[str, Any]:
        """The fingerprint of the names and how they were split: what a checkpoint was trained on."""
        how = {key: self.hparams[key] for key in ("split", "split_by", "split_seed")}
        return {"sha256": self.splits.corpus.sha256, "source": self.splits.corpus.source, **how}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check, on resume, that the names and their split are still the same.

        Raises:
            ValueError: they differ.
        """
        if self.trainer is not None and self.trainer.state.fn != TrainerFn.FITTING:
            return  # a checkpoint may be evaluated on any names
        now = self.state_dict()
        if state_dict["sha256"] != now["sha256"]:
            raise ValueError(
                f"{now['source']} holds other names than the checkpoint was trained on ({state_dict['source']});"
                " resume with the same list, or start a new run"
            )
        for key in ("split", "split_by", "split_seed"):
            if state_dict[key] != now[key]:
                raise ValueError(
                    f"data.{key} is {now[key]!r}, and the checkpoint was trained with {state_dict[key]!r}: names to"
                    " validate on would be trained on; leave the option out, or start a new run"
                )

    def _in_order(self, contexts: Contexts) -> BatchLoader | list[BatchLoader]:
        return self._loader(contexts, self.hparams["eval_batch_size"]) if len(contexts) else []

    def _loader(
        self,
        contexts: Contexts,
        batch_size: int | None,
        sampling: Literal["sequential", "epoch", "replacement"] = "sequential",
        seed: int | None = 0,
        whole: bool = False,
    ) -> BatchLoader:
        """What the trainer's model takes, windows where there is none; `whole`: all of it in every process."""
        trainer = None if whole else self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        order: dict[str, Any] = {"sampling": sampling, "seed": seed, "rank": rank, "world_size": world_size}
        model: Any = getattr(self.trainer, "lightning_module", None)
        if getattr(model, "takes", "windows") == "windows":
            return BatchLoader(contexts, batch_size, **order)
        names = Sequences.of_contexts(contexts)
        check_longest(model.net, int(names.lengths.max()) - 1, f"the longest name of {self.splits.corpus.source}")
        return NameLoader(names, batch_size, **order)


def _refuse_sizes(**sizes: int | None) -> None:
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} is {size}; it must be at least 1")


@rank_zero_only
def _report(splits: Splits) -> None:
    corpus, alphabet = splits.corpus, splits.tokenizer.alphabet
    shown = alphabet if len(alphabet) <= 40 else f"{alphabet[:40]}..."
    log.info(f"{corpus.source}: {len(corpus):,} names over {len(alphabet)} characters, {shown}")
    if corpus.note:
        log.info(f"{corpus.source}: {corpus.note}")
