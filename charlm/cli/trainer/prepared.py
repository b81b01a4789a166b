"""A command line that is ready for Lightning's parser."""

import logging
from dataclasses import dataclass
from pathlib import Path

from charlm.runs.load_checkpoint import Checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """A command line for Lightning's parser, in which later settings win.

    Args:
        args: the arguments.
        checkpoint: the loaded file of --ckpt_path, if there is one.
        kind: class of the checkpoint's model; "" without a checkpoint.
        model: class of the model that is named, "" if none is. The parser starts from this class, because it
            keeps the default of an argument when the class changes and the new class has the argument too.
        run: the directory of the run that goes on; None: a new one.
        start: the checkpoint whose weights a new run begins with, if it is to.
        auto: whether an unfinished run with the settings of `args` goes on, if there is one.
        complete: whether no trainer command was given, so that help or completion is wanted.
        configs: the config files among the arguments, without options.
    """

    args: list[str]
    checkpoint: Checkpoint | None = None
    kind: str = ""
    model: str = ""
    run: Path | None = None
    start: Checkpoint | None = None
    auto: bool = False
    complete: bool = False
    configs: tuple[str, ...] = ()

    def say(self) -> None:
        """Log what the training or evaluation starts from, after all checks have passed."""
        run, checkpoint = self.run, self.checkpoint
        if run is not None and checkpoint is None:
            log.info(f"{run} was stopped before its first checkpoint: it begins again")
        elif run is not None and checkpoint is not None:
            log.info(f"Going on with {run} after {checkpoint.step:,} steps, from {checkpoint.path.name}")
        elif checkpoint is not None:
            log.info(f"{checkpoint.path}: {self.kind} after {checkpoint.step:,} steps")
