"""The report at the end of a training: its losses in a table, ten names, and the next commands."""

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from charlm.cli.commands.sample import first_names, novelty
from charlm.cli.commands.summary import MOST_LABELS, net_facts, summary_table
from charlm.cli.table import render
from charlm.cli.terminal_text import display_width, padded, terminal_width
from charlm.cli.trainer.verdict import Validation, unvalidated, verdict
from charlm.data.splits import Part, Splits
from charlm.inference.labelled import losses_by_label
from charlm.messages import first_few
from charlm.nets.loss import evaluate
from charlm.nets.mixture import CrossFitted, Mixture
from charlm.nets.ngram import NGram
from charlm.runs.directory import run_directory, write_results
from charlm.runs.load_checkpoint import Checkpoint

Batches = Iterable[tuple[Tensor, ...]]
NAMES = 10
_OF_TRAIN: dict[type, str] = {
    Mixture: "Train is measured with n-grams that have not counted the name.",
    NGram: "The names of train were counted: its loss tells nothing about new names.",
}


def finish(
    checkpoint: Checkpoint,
    loaders: Mapping[Part, Batches],
    splits: Splits,
    of_run: Mapping[str, Any],
    tensorboard: bool = True,
    validations: Sequence[Validation] = (),
    steps: int = 0,
    epochs: int | None = None,
) -> tuple[dict[str, float], str]:
    """Evaluate a checkpoint on every split, write the losses to results.json of its run, and print the report.

    Args:
        checkpoint: the checkpoint to report on.
        loaders: the batches of each split that is not empty, by name of the split.
        splits: the names, to tell new names from known ones.
        of_run: what results.json says besides; it is written before the report is printed, which a pipe may cut off.
        tensorboard: whether the run has a TensorBoard log.
        validations: of the training.
        steps: optimizer steps of the training.
        epochs: between two validations; None: epochs are not counted.

    Returns:
        The losses in nats per character, by split, and the verdict on the training, "" if there is none.
    """
    run = run_directory(checkpoint.path)
    try:
        losses: dict[str, float] = {part: _loss(checkpoint.net, part, batches) for part, batches in loaders.items()}
    except KeyboardInterrupt:
        test = f"{program('charlm')} test --ckpt_path {shlex.quote(str(shown(checkpoint.path)))}"
        told = "The training has ended and is saved; only its report is missing. Get its loss with:"
        print(f"\n{told}\n{test}", file=sys.stderr)
        raise
    facts: dict[str, Any] = net_facts(checkpoint)
    if checkpoint.tokenizer.labels and "val" in loaders:
        facts["val_by_label"] = losses_by_label(checkpoint.net, checkpoint.tokenizer, loaders["val"])
    write_results(run, {**losses, **facts, "checkpoint": checkpoint.path.name, "step": checkpoint.step, **of_run})
    width = min(80, terminal_width())
    print(f"\nLosses in nats per character, at {checkpoint.path.name} (step {checkpoint.step:,}):\n")
    print(render(summary_table([run]), width=width))
    for kind, text in _OF_TRAIN.items():
        if "train" in loaders and isinstance(checkpoint.net, kind):
            print(f"\n{textwrap.fill(text, width - 1)}")
    if by_label := facts.get("val_by_label"):
        listed = first_few([f"{label} {loss:.4f}" for label, loss in by_label.items()], MOST_LABELS)
        print(f"\n{textwrap.fill(f'val by label: {listed}', width - 1)}")
    said = verdict(validations, losses, checkpoint.tokenizer.vocab_size)
    for text in filter(None, (unvalidated(validations, steps, epochs), said)):
        print(f"\n{textwrap.fill(text, width - 1)}")
    print_names(checkpoint, splits)
    print_next(run, tensorboard)
    return losses, said


def _loss(net: nn.Module, part: Part, batches: Batches) -> float:
    """The loss on a split; on train, as `_OF_TRAIN` says."""
    if part == "train" and isinstance(net, Mixture):
        net = CrossFitted(net, batches)
    return evaluate(net, batches).loss


def print_names(checkpoint: Checkpoint, splits: Splits) -> None:
    """Print ten names, drawn with seed 0, each with "new" or "in train", and their labels if they have some."""
    print(f"\nThe first {NAMES} names it draws:\n")
    labels, names = zip(*first_names(checkpoint, NAMES), strict=True)
    width, label_width = (max(map(display_width, texts)) + 2 for texts in (names, labels))
    for label, (name, novel) in zip(labels, novelty(names, splits.names("train")), strict=True):
        print(f"  {padded(label, label_width) if label else ''}{padded(name, width)}{novel}")


def print_next(run: Path, tensorboard: bool = True) -> None:
    """Print where the run is, and the commands that show it and draw more names."""
    here, runs, charlm = shown(run), shown(run.parent), program("charlm")
    where = "" if runs == Path("lightning_logs") else f" {shlex.quote(str(runs))}"
    print(f"\nRun          {here}")
    if tensorboard:
        print(f"TensorBoard  {charlm} dashboard{where}")
    print(f"More names   {charlm} sample --checkpoint {shlex.quote(str(here))} --new-only")


def print_go_on(step: int, file: str | None) -> None:
    """Print to stderr how to continue a run that a signal stopped; `file` is its checkpoint, or None."""
    if file is None:
        print("Stopped before the first step: there is nothing to save.", file=sys.stderr)
        return
    run = run_directory(Path(file))
    root = run.absolute().parent.parent
    where = "" if root == Path.cwd() else f" --trainer.default_root_dir {shlex.quote(str(shown(root)))}"
    how = f"--resume {shlex.quote(run.name)}{where}"
    if not (run / "config.yaml").is_file():  # without a logger there is no run
        how = f"--ckpt_path {shlex.quote(str(shown(Path(file))))}"
    charlm, steps = program("charlm"), f"{step:,} step{'s' * (step != 1)}"
    if "TORCHELASTIC_RUN_ID" in os.environ:  # it continues with the same number of processes only
        nodes = f"--nnodes {count} " if (count := os.environ["GROUP_WORLD_SIZE"]) != "1" else ""
        charlm = f"torchrun {nodes}--nproc-per-node {os.environ['LOCAL_WORLD_SIZE']} -m charlm"
    print(f"Stopped after {steps}. Go on with:\n{charlm} fit {how}", file=sys.stderr)


def shown(path: Path) -> Path:
    """A path for the terminal: relative to the working directory if that is shorter."""
    try:
        return min(Path(os.path.relpath(path)), path.absolute(), key=lambda p: len(str(p)))
    except ValueError:  # no relative path leads to another drive of Windows
        return path.absolute()


def program(name: str) -> str:
    """How to start a program of this environment: by its name if the PATH finds it, else by its path."""
    here = Path(sys.executable).parent / name
    found = shutil.which(name)
    return name if (found is not None and Path(found) == here) or not here.exists() else shlex.quote(str(shown(here)))
