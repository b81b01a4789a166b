"""The names of a training, for Lightning's Trainer. Dimension key: B batch, T = block_size, L positions."""

import logging
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from charlm.data.batches import BatchLoader
from charlm.data.contexts import Contexts
from charlm.data.download import MAKEMORE, download_makemore
from charlm.data.lowercase import Language
from charlm.data.name_batches import NameLoader
from charlm.data.repeated import repeated
from charlm.data.sequences import Sequences
from charlm.data.several_files import absolute
from charlm.data.splits import DEFAULT_SPLIT, Part, Shares, Splits, load_splits
from charlm.nets.interface import check_longest, learns_by_counting
from charlm.nets.parts.sizes import check_sizes
from charlm.tokenizer import LONGEST_NAME, CharTokenizer

log = logging.getLogger(__name__)

_MOST_KNOWN = 1_000_000  # names; as sets of Python strings they take about 200 MB


class NamesDataModule(pl.LightningDataModule):
    """Names from a file, in batches of contexts and next characters, or of whole names if the model takes those.

    Args:
        path: a file with one name a line, or a table, also as .gz; "makemore": the course's 32,033 names; null: those
            that come with charlm. A pattern such as 'lists/*.txt' or a list such as '[a.txt, b.txt]' means several
            files, which are read by the same rules and joined.
        alphabet: the characters, in order; null: those that occur. Names with others are refused.
        block_size: T, the context length in characters, >= 1; the model takes it from here. For a Transformer or a bag
            of words it is the number of positions: the length of the longest name, plus one.
        batch_size: examples per training batch and process (or whole names); null: the whole split in one batch.
        split: shares of train, val and test; they sum to 1.
        split_by: "name" puts all copies of a name into one split; "line" splits the lines, as in the lectures, so that
            repeated names leak; "pair" splits the context/target pairs, as in the course notebooks.
        split_seed: seed of the split.
        lowercase: turn names to lower case; "tr", "az" and "lt" follow the rules of these languages.
        sampling: "epoch" shuffles and shows every example once per epoch; "replacement" draws every batch anew.
        shuffle_seed: seed of the order of the training batches; null draws from torch's global generator.
        pad: false leaves out padding, as in the course notebook. A name's first T - 1 characters are never predicted.
        eval_batch_size: examples per batch in an evaluation.
        max_length: length of the longest accepted name in characters.
        column: the column with the names in a table (CSV, TSV, ...): its number, from 1 on, or its title; 0: each whole
            line is a name; null refuses tables.
        encoding: of the file, such as utf-16 or cp1252.
        bad_lines: "refuse" stops at a line that is not accepted, "skip" leaves such lines out and counts them.
        weight: the column with counts: a name with 5 is learned and counted as if it stood there five times. Shares
            will do as well. A training epoch has as many examples as the split, drawn in proportion to their weights.
        label: the column with labels, such as genders: names are learned given their label. Each window has one place
            more than block_size for it.
        labels: the labels, in order; null: those that occur. Names with others are refused.
        min_batches: about the fewest batches of an epoch. A shorter list is repeated until there are that many.

    Raises:
        OSError: the file cannot be read or downloaded.
        ValueError: bad names, with their line, or arguments outside the ranges above.
    """

    def __init__(
        self,
        path: list[str] | str | None = None,
        alphabet: str | None = None,
        block_size: int = 3,
        batch_size: int | None = 32,
        split: Shares = DEFAULT_SPLIT,
        split_by: Literal["name", "line", "pair"] = "name",
        split_seed: int = 42,
        lowercase: bool | Language = False,
        sampling: Literal["epoch", "replacement"] = "epoch",
        shuffle_seed: int | None = 0,
        pad: bool = True,
        eval_batch_size: int = 8192,
        max_length: int = LONGEST_NAME,
        column: int | str | None = None,
        encoding: str = "utf-8",
        bad_lines: Literal["refuse", "skip"] = "refuse",
        weight: int | str | None = None,
        label: int | str | None = None,
        labels: list[str] | None = None,
        min_batches: int = 1,
    ) -> None:
        super().__init__()
        size = 1 if batch_size is None else batch_size  # None: the whole split, of any size
        check_sizes(batch_size=size, eval_batch_size=eval_batch_size, block_size=block_size)
        path = absolute(path)  # so that a checkpoint finds its names from every working directory
        split = list(split)  # type: ignore[assignment]  # checkpoints and YAML have no tuples
        # without the logger: the model has an `alphabet`, too, and Lightning refuses two values under one name
        self.save_hyperparameters(logger=False)

    @cached_property
    def splits(self) -> Splits:
        """The names, read and split on first use."""
        given = self.hparams
        loader_only = {"batch_size", "sampling", "shuffle_seed", "eval_batch_size", "min_batches"}
        splits = load_splits(**{key: value for key, value in given.items() if key not in loader_only})
        _report(splits)
        return splits

    @property
    def tokenizer(self) -> CharTokenizer:
        """The characters and their ids."""
        return self.splits.tokenizer

    @property
    def alphabet(self) -> str:
        """The characters in the order of their ids, which begin at 1."""
        return self.tokenizer.alphabet

    @property
    def labels(self) -> list[str] | None:
        """The labels in the order of their ids, which follow those of the characters; None if names have none."""
        return list(self.tokenizer.labels) or None

    @property
    def label_shares(self) -> list[float]:
        """The share of each label in the training names, by which names are drawn; [] if names have none."""
        return self.splits.label_shares()

    @property
    def vocab_size(self) -> int:
        """V, the number of characters plus one for the boundary."""
        return self.tokenizer.vocab_size

    def prepare_data(self) -> None:
        """Download the course's list where it is asked for, in one process only."""
        path = self.hparams["path"]
        if MAKEMORE in (path if isinstance(path, list) else [path]):
            download_makemore()

    def setup(self, stage: str) -> None:
        """Read and split the names before the first step, so that errors in the file appear at once."""
        _ = self.splits

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of context int64 (B, T) and target int64 (B,); for whole names, both are int64 (B, L).

        A model that counts gets names with weights in order, since their weights come with them. With the Trainer's
        `overfit_batches` all epochs have the same batches.
        """
        given, train = self.hparams, self.splits.train
        model: Any = getattr(self.trainer, "lightning_module", None)
        counts = train.example_weights is not None and learns_by_counting(getattr(model, "net", None))
        sampling: Any = "sequential" if counts else given["sampling"]
        loader = self._loader(train, given["batch_size"], sampling, given["shuffle_seed"])
        loader.repeats = getattr(self.trainer, "overfit_batches", 0) > 0
        return loader

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """The val split in order; [] if it has no share."""
        return self._in_order(self.splits.val)

    def test_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """The test split in order; [] if it has no share."""
        return self._in_order(self.splits.test)

    def predict_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """The test split in order; [] if it has no share."""
        return self._in_order(self.splits.test)

    def whole_splits(self) -> dict[Part, BatchLoader]:
        """Loaders of all splits that have examples, in order and not divided among processes, for the final report."""
        parts: dict[Part, Contexts] = {"train": self.splits.train, "val": self.splits.val, "test": self.splits.test}
        size = self.hparams["eval_batch_size"]
        return {part: self._loader(contexts, size, whole=True) for part, contexts in parts.items() if len(contexts)}

    def known_names(self) -> dict[str, list[str] | set[str]]:
        """The names of train and val, including repeated ones, for NameSamples; as sets if they have weights.

        With `split_by="pair"`, all names belong to train. For more than a million names the result is {}.
        """
        splits = self.splits
        if len(splits.corpus) > _MOST_KNOWN:
            log.info(f"{len(splits.corpus):,} names are too many to look up, so drawn names are not compared with them")
            return {}
        parts: tuple[Part, ...] = ("train",) if splits.name_split is None else ("train", "val")
        is_weighted = splits.corpus.weights is not None  # the mean length would not be that of the data
        return {part: set(names) if is_weighted else names for part in parts for names in [splits.names(part)]}

    def state_dict(self) -> dict[str, Any]:
        """The fingerprint of the names and the settings of the split, so that a resume can check both.

        With labels also the share of each in the training names, by which `charlm sample` draws labels.
        """
        how = {key: self.hparams[key] for key in ("split", "split_by", "split_seed")}
        shares = {"label_shares": self.label_shares} if self.tokenizer.labels else {}
        return {"sha256": self.splits.corpus.sha256, "source": self.splits.corpus.source, **how, **shares}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check, on resume, that the names and their split are still the same; an evaluation may use any names.

        Raises:
            ValueError: the names or a setting of the split differ.
        """
        now = self.state_dict()
        others = f"{now['source']} holds other names than the checkpoint was trained on ({state_dict['source']})"
        is_same = state_dict["sha256"] == now["sha256"]
        if self.trainer is not None and self.trainer.state.fn != TrainerFn.FITTING:
            if not is_same:
                log.info(others)
            return
        if not is_same:
            raise ValueError(f"{others}; resume with the same list (--data FILE), or start a new run")
        for key in ("split", "split_by", "split_seed"):
            if state_dict[key] != now[key]:
                raise ValueError(
                    f"`{key}` is {now[key]!r}, and the checkpoint was trained with {state_dict[key]!r}: names of"
                    " the val split would be trained on; leave the option out, or start a new run"
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
        """A loader of what the trainer's model takes (else contexts); `whole`: not divided among processes."""
        of = None if whole else self.trainer
        rank, world_size, device = (of.global_rank, of.world_size, of.strategy.root_device) if of else (0, 1, None)
        order: dict[str, Any] = {"sampling": sampling, "seed": seed, "rank": rank, "world_size": world_size}
        batches = 1 if sampling == "sequential" else self.hparams["min_batches"]
        enough = batches * (batch_size or 0) * world_size if batches > 1 else 0
        model: Any = getattr(self.trainer, "lightning_module", None)
        if getattr(model, "takes", "windows") == "windows":
            return BatchLoader(repeated(contexts, enough), batch_size, device=device, **order)
        names = Sequences.of_contexts(contexts)
        check_longest(model.net, int(names.lengths.max()) - 1, f"the longest name of {self.splits.corpus.source}")
        return NameLoader(repeated(names, enough), batch_size, **order)


@rank_zero_only
def _report(splits: Splits) -> None:
    corpus, alphabet = splits.corpus, splits.tokenizer.alphabet
    file = Path(corpus.source).name  # a whole path would not leave room for the characters
    shown = alphabet if len(alphabet) <= 40 else f"{alphabet[:40]}..."
    log.info(f"{file}: {len(corpus):,} names over {len(alphabet)} characters, {shown}")
    if corpus.note:
        log.info(f"{file}: {corpus.note}")
