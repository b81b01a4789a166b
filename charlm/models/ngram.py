"""The n-gram, which is counted. Dimension key: B batch, T = block_size, V = vocab_size."""

import string

from charlm.callbacks.shared.progress import log_is_due
from charlm.models.base import Batch, LitCharLM
from charlm.nets.loss import evaluate
from charlm.nets.ngram import NGram

_ROWS = 1 << 10  # contexts evaluated at a time, each with a float64 for every character of an alphabet of any size


class LitNGram(LitCharLM):
    """The n-gram by counting, with Kneser-Ney smoothing: the next character from the last T.

    It is complete after one pass over the names and has no optimizer, so that no callback for learning rates applies.

    Args:
        block_size: T, characters of context; `charlm fit` takes it from data.block_size.
        alphabet: the characters in the order of their ids; with `charlm fit` it comes from the data.
        vocab_size: V, the characters and the start/end token; null: one id for each of them.
        labels: of names, which begin them in place of the start token; with `charlm fit` they come from the data.

    Raises:
        ValueError: a training in several processes, each of which would count its own names only, or with a datamodule
            that repeats the names (min_batches).

    Source: Chen and Goodman 1999, Computer Speech and Language 13:359-394.
    """

    net_class = NGram
    net: NGram
    unused = ("optimizer", "lr", "weight_decay", "schedule", "warmup", "label_smoothing")

    def __init__(
        self,
        block_size: int = 3,
        alphabet: str = string.ascii_lowercase,
        vocab_size: int | None = None,
        labels: list[str] | None = None,
    ) -> None:
        super().__init__(alphabet, vocab_size, labels=labels)
        self.automatic_optimization = False

    def configure_optimizers(self) -> None:
        """None: counting has nothing to optimize."""

    def setup(self, stage: str) -> None:
        """Refuse a training in several processes, or on names that are repeated."""
        if stage == "fit" and self.trainer.world_size > 1:
            raise ValueError("an n-gram model is counted by one process; give --trainer.devices 1")
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and data is not None and data.hparams.get("min_batches", 1) > 1:
            raise ValueError("an n-gram model counts each name once; leave `min_batches` out")

    def on_train_start(self) -> None:
        """Start to count anew in a new training."""
        super().on_train_start()
        if self.trainer.global_step == 0:
            self.net.clear()

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]  # no loss to minimise
        """Count a batch; logs the cross-entropy of its characters by the counts so far, in nats per character."""
        if self.trainer.current_epoch == 0:  # a second pass would count every name twice
            self.net.count(*batch)
        if log_is_due(self.trainer):
            parts = zip(*(part.split(_ROWS) for part in batch), strict=True)
            self.log_step(evaluate(self.net, parts).loss)
        self.optimizers().step()  # type: ignore[union-attr]  # Lightning's stand-in, which counts the step

    def on_train_epoch_end(self) -> None:
        """End the training after the first pass."""
        self.trainer.should_stop = True
