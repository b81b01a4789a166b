"""Train random combinations of configs, lists, options and callbacks, stop and resume them, and compare the runs.

python scripts/reliability/combinations.py --minutes 15
python scripts/reliability/combinations.py --only 34     one case once more, by its number

Each case is trained twice by `charlm fit`: once to its end, and once stopped up to three times by SIGTERM, Ctrl-C or
SIGKILL after a batch, a validation or an epoch, and each time resumed by `charlm fit --resume`. Compared are last.ckpt,
best.ckpt, results.json, every point that TensorBoard's two readers find, and the other files of the run directory.

Each case is a line, "same", "differs" or "failed", which it is where a stopped process ends with a status that is not
its signal's. Three kinds of cases are counted apart, as they compare nothing: refused ones (status 2, as some options
exclude each other), diverged ones (status 4), and ones whose training was over before its stops. The exit status is 1
where a case differs or fails.
"""

import csv
import random
import shlex
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compare_runs import differences, run_in
from jsonargparse import auto_cli
from jsonargparse.typing import NonNegativeInt
from killloop import Training

from charlm.data.corpus import BUNDLED

WHOLE_NAMES = ("rnn", "gru", "lstm", "ensemble", "transformer", "best", "bow")
SMALL = {
    **dict.fromkeys(("rnn", "gru", "lstm", "ensemble"), "--model.n_hidden=16"),
    **{"best": "--model.n_hidden=8", "transformer": "--model.n_embd=16 --model.n_layer=1"},
}
CONFIGS = (*WHOLE_NAMES, "mlp", "mlp-fast", "mlp-best", "deepmlp", "wavenet", "bigram", "ngram")
DATA: tuple[tuple[Any, ...], ...] = (  # how often an option is given, and its forms
    (0.6, *(f"--data.path={{folder}}/{rows}.csv --data.column=name" for rows in (40, 200, 1000))),
    (0.4, "--data.weight=percent"),
    (0.3, "--data.label=gender"),
    (0.2, "--data.sampling=replacement"),
    (0.2, *["--data.split_by=line"] * 3, "--data.split_by=pair"),  # which models of whole names refuse
    (0.2, "--trainer.limit_train_batches=3", "--trainer.limit_train_batches=10", "--trainer.limit_train_batches=0.5"),
    (0.2, "--trainer.limit_val_batches=0", "--trainer.limit_val_batches=1", "--trainer.limit_val_batches=0.5"),
    (0.2, "--trainer.callbacks+=LearningRateMonitor"),
    (0.2, "--dashboard.histograms=true", "--dashboard=null", "--name_samples=null"),
    (1.0, *(f"--trainer.log_every_n_steps={steps}" for steps in (1, 3, 10, 50))),
)
VALIDATION = (
    *(f"--trainer.val_check_interval={batches} --trainer.check_val_every_n_epoch=null" for batches in (5, 9, 20, 37)),
    *(f"--trainer.val_check_interval={part} --trainer.check_val_every_n_epoch=1" for part in ("1.0", "0.5", "0.34")),
    "--trainer.val_check_interval=1.0 --trainer.check_val_every_n_epoch=2",
)
EMA = "--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging --trainer.callbacks.decay=0.9"
SWA = "--trainer.callbacks+=StochasticWeightAveraging --trainer.callbacks.swa_lrs=0.01"
FINDER = "--trainer.callbacks+=LRFinder --trainer.callbacks.num_steps=30 --trainer.callbacks.trial_steps=30"
STOPPING = "--trainer.callbacks+=EarlyStopping --trainer.callbacks.monitor=loss/val --trainer.callbacks.patience=2"
SCHEDULED = "'--trainer.callbacks+={class_path: GradientAccumulationScheduler, init_args: {scheduling: {1: 3, 2: 2}}}'"
TRAINING: tuple[tuple[Any, ...], ...] = (
    (1.0, *VALIDATION),
    (0.2, *(f"--data.batch_size={rows}" for rows in (1, 7, 100, 500))),
    (0.2, "--data.min_batches=3", "--data.min_batches=13"),
    (0.2, "--data.shuffle_seed=null", "--data.shuffle_seed=5"),
    (0.2, "--trainer.gradient_clip_val=0.1", "--trainer.gradient_clip_val=1"),
    (0.2, "--trainer.precision=bf16-mixed", "--trainer.precision=64-true"),
    (0.2, "--model.schedule=one-cycle", "--model.optimizer=SGD"),
    (0.3, *(f"--trainer.callbacks+=StepsPerExecution --trainer.callbacks.steps={steps}" for steps in (1, 4, 7, 1000))),
    (0.2, *(f"{SWA} --trainer.callbacks.swa_epoch_start={epoch}" for epoch in (1, 2))),
    (0.2, FINDER, f"{FINDER} --trainer.callbacks.at_epochs=[0,2]"),
    (0.2, STOPPING),
    (0.2, EMA),
    (0.1, SCHEDULED),
    (0.2, "--checkpoint.every_n_train_steps=1", "--checkpoint.every_n_train_steps=7"),
    (0.1, "--trainer.reload_dataloaders_every_n_epochs=1"),
)
OUTCOME = {2: "refused", 4: "diverged"}  # by the status of the training that is left alone
STATUS = {"SIGTERM": 143, "SIGINT": 130, "SIGKILL": -9, "none": 0}  # of a training that the signal has ended


@dataclass(frozen=True)
class Case:
    """A training and its stops, drawn from a number.

    Args:
        options: of `charlm fit`, where {folder} is that of the lists.
        strikes: the values of STRIKE, in order; kill_recorder.py explains them.
    """

    options: str
    strikes: tuple[str, ...]

    @classmethod
    def drawn(cls, number: int) -> "Case":
        """The case of a number."""
        draw = random.Random(number)
        config = draw.choice(CONFIGS)
        options, batches = [f"--config={config}", SMALL.get(config, "")], 1
        choices = [*DATA]
        if config != "ngram":  # which counts in a single step
            steps, accumulated = draw.choice((25, 40, 60)), draw.choice((1, 1, 1, 2, 3, 5))
            options += [f"--trainer.max_steps={steps} --trainer.accumulate_grad_batches={accumulated}"]
            batches = steps * accumulated
            choices += TRAINING
        options += [draw.choice(forms) for share, *forms in choices if draw.random() < share]
        moments = sorted(draw.sample(range(1, batches + 1), min(batches, draw.choice((1, 1, 2, 3)))))
        hooks = (*["train_batch_end"] * 4, "validation_end", "train_epoch_end")
        signals = ("SIGTERM", "SIGINT", "SIGKILL")
        strikes = [f"{draw.choice(hooks)} {moment} {draw.choice(signals)}" for moment in moments]
        return cls(" ".join(filter(None, options)), tuple(strikes))

    def outcome(self, folder: Path, lists: Path) -> tuple[str, list[str]]:
        """Train it twice in a folder; "same", "differs", "failed", one of OUTCOME or "not stopped", and the details."""
        options = shlex.split(self.options.replace("{folder}", str(lists)))
        options += ["--trainer.callbacks+=kill_recorder.Striker"]
        if status := Training(folder / "alone", options).process.wait():
            return OUTCOME.get(status, "failed"), last_lines(folder / "alone")
        stopped = False
        for strike in (*self.strikes, "none 0 none"):
            status = Training(folder / "stopped", options, STRIKE=strike).process.wait()
            if status not in (0, STATUS[strike.split()[-1]]):  # 0 where training was over before the moment
                return "failed", [f"status {status} with STRIKE '{strike}'", *last_lines(folder / "stopped")]
            stopped = stopped or status != 0
        different = differences(run_in(folder / "alone"), run_in(folder / "stopped"))
        return "differs" if different else "same" if stopped else "not stopped", different


def main(minutes: float = 15.0, first: NonNegativeInt = 0, only: int | None = None) -> None:
    """Try one case after the other until the time is over.

    Args:
        minutes: how long.
        first: number of the first case.
        only: number of the one case to try; its folder stays.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    place, deadline = Path(tempfile.mkdtemp(prefix="combinations-")), time.monotonic() + 60 * minutes
    write_lists(place)
    counted: Counter[str] = Counter()
    number = first if only is None else only
    while not counted or (only is None and time.monotonic() < deadline):
        case, folder = Case.drawn(number), place / str(number)
        outcome, different = case.outcome(folder, place)
        counted[outcome] += 1
        print(f"{number} {outcome}: {case.options} ({', '.join(case.strikes)})", flush=True)
        if different:
            print(f"    in {folder}: {len(different)}: {'; '.join(different[:6])}", flush=True)
        if outcome not in ("differs", "failed") and only is None:
            shutil.rmtree(folder)
        number += 1
    print(", ".join(f"{count} {outcome}" for outcome, count in counted.items()))
    raise SystemExit(1 if counted["differs"] or counted["failed"] else 0)


def last_lines(folder: Path, count: int = 3) -> list[str]:
    """What a training said at its end."""
    return (folder / "log.txt").read_text().splitlines()[-count:]


def write_lists(folder: Path, lengths: Sequence[int] = (40, 200, 1000)) -> None:
    """Write tables of so many rows, drawn from the names that come with charlm."""
    with BUNDLED.open(encoding="utf-8", newline="") as file:
        titles, *rows = csv.reader(file)
    for length in lengths:
        with (folder / f"{length}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([titles, *random.Random(length).sample(rows, length)])


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
