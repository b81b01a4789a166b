"""The course: the notebooks' numbers out of a Trainer run of the real modules, and both scripts as users start them."""

import re
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from PIL import Image

from charlm.callbacks.step_decay.callback import StepDecay
from charlm.data.batches import BatchLoader
from charlm.data.datamodule import NamesDataModule
from charlm.models.windows import LitMLP
from charlm.nets.loss import evaluate

ROOT = Path(__file__).parents[2]
NAMES = """emma olivia ava isabella sophia mia charlotte amelia harper evelyn
abigail emily ella elizabeth camila luna sofia avery mila aria"""
TOLERANCE = 2e-3


class Keep(pl.Callback):
    """The cross-entropy of the splits after each of `steps`."""

    def __init__(self, splits, steps):
        self.loaders = [BatchLoader(split, None) for split in splits]
        self.steps = steps
        self.after = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step in self.steps:
            self.after.append([evaluate(pl_module.net, loader).loss for loader in self.loaders])


def fit(model, data, steps, *callbacks):
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=list(callbacks),
    )
    trainer.fit(model, data)


@pytest.fixture
def twenty_names(tmp_path):
    path = tmp_path / "twenty.txt"
    path.write_text(NAMES.replace(" ", "\n"))
    return str(path)


@pytest.mark.parametrize(
    ("lr", "callbacks", "expected"),
    [
        pytest.param(0.1, [StepDecay([5000])], [(3.2801, 3.2765), (0.2999, 4.6159), (0.2098, 5.4740)], id="decay"),
        pytest.param(0.01, [], [(3.2946, 3.2923), (2.1477, 2.3838), (1.4695, 2.5436)], id="fixed"),
    ],
)
def test_mlp_losses_are_the_notebooks(twenty_names, lr, callbacks, expected):
    data = NamesDataModule(
        twenty_names,
        block_size=3,
        batch_size=32,
        pad=False,
        split=(0.8, 0.2, 0.0),
        split_by="pair",
        split_seed=42,
        sampling="replacement",
        shuffle_seed=None,
    )
    torch.manual_seed(42)
    model = LitMLP(alphabet=data.alphabet, vocab_size=27, init="notebook", lr=lr)
    keep = Keep((data.splits.train, data.splits.val), steps=[1, 501, 1001])
    fit(model, data, 1001, keep, *callbacks)
    assert len(data.splits.train) + len(data.splits.val) == 90
    assert sum(weights.numel() for weights in model.parameters()) == 11897
    assert keep.after == [pytest.approx(pair, abs=TOLERANCE) for pair in expected]


@pytest.fixture
def start(python):
    """Runs a script as a user does, from another directory."""
    return lambda script, *arguments: python(ROOT / "scripts" / script, *arguments, timeout=240)


def rows(lines):
    """The lines that are numbers only."""
    found = [line.split() for line in lines]
    return [[float(cell) for cell in row] for row in found if row and all(re.fullmatch(r"[\d.]+|inf", c) for c in row)]


def by_heading(output):
    """The output's sections: the lines below each heading, by the heading's first words."""
    parts = re.split(r"^== ", output, flags=re.M)[1:]
    return {part.split("\n")[0].split(":")[0]: part.splitlines()[1:] for part in parts}


EMBEDDING = ("embedding_pca.png", "embedding_pca_frames.png", "embedding_pca.gif")


def check_pictures(lines, directory, names):
    """All pictures that the script names are there, drawn at a size one can read."""
    paths = [directory / line for line in lines if line]
    assert [path.name for path in paths] == names
    for path in paths:
        with Image.open(path) as picture:
            assert min(picture.size) >= 380


def test_day_8_prints_the_notebooks_tables(start, tmp_path):
    done = start("day08_bigram.py", "--steps", "41")
    assert (done.returncode, done.stderr) == (0, "")
    parts = by_heading(done.stdout)
    assert "130 pairs, the first ones: .e em mm ma a. .o ol li" in parts["Bigram pairs"]
    descent = rows(parts["Gradient descent on all pairs"])
    assert descent == [pytest.approx(row, abs=TOLERANCE) for row in [(0, 3.4461), (20, 1.5768), (40, 1.5351)]]
    lookup, loss = parts["By hand"][:2]
    assert lookup.endswith("largest difference 0")
    by_hand, library = map(float, re.findall(r" (\d\.\d{4})", loss))
    assert by_hand == pytest.approx(library, abs=1e-4)
    splits = rows(parts["Gradient descent on 104 / 13 / 13 pairs (train / val / test)"])
    assert splits[0] == pytest.approx((1, 2.6490, 3.6347, 3.1590), abs=TOLERANCE)
    assert splits[1] == pytest.approx((41, 1.4479, 4.1838, 2.9287), abs=TOLERANCE)
    names = [line.removesuffix(" *") for line in parts["Ten names (* is in the list)"] if line]
    assert len(names) == 10
    assert set("".join(names)) <= set(NAMES)
    check_pictures(parts["Pictures"], tmp_path, ["bigram_counts.png", "bigram_probabilities.png"])
    assert (tmp_path / "lightning_logs/day08").is_dir()


def test_day_10_prints_the_notebooks_tables(start, tmp_path):
    done = start("day10_mlp.py", "--steps", "4", "--out", "here")
    assert (done.returncode, done.stderr) == (0, "")
    parts = by_heading(done.stdout)
    assert parts["Contexts"][:4] == [".em -> m", "emm -> a", "mma -> .", ".ol -> i"]
    assert "90 windows of 3 characters and the next one: 72 train, 18 val" in parts["Contexts"]
    sweep = {int(step): (rate, loss) for step, rate, loss in rows(parts["Learning-rate sweep"])}
    assert [sweep[step][1] for step in (0, 100, 300, 500)] == pytest.approx(
        [3.2958, 3.2970, 3.2532, 2.8010], abs=TOLERANCE
    )
    assert (sweep[0][0], sweep[999][0]) == (0.0001, 10.0)
    lowest = next(line for line in parts["Learning-rate sweep"] if line.startswith("lowest point"))
    loss, rate = map(float, re.findall(r"\d+\.\d+", lowest))
    assert loss < 0.3  # a single noisy batch: where exactly depends on the processor's last digits
    assert 0.3 < rate < 3
    suggestion = next(line for line in parts["Learning-rate sweep"] if line.startswith("suggestion: the rate"))
    assert 0.0001 < float(re.findall(r"\d+\.\d+", suggestion)[0]) < rate
    curves = rows(parts["Step decay against a fixed rate"])
    assert curves[0] == pytest.approx((1, 3.2801, 3.2765, 3.2946, 3.2923), abs=TOLERANCE)
    assert [row[0] for row in curves] == [1, 4]
    table = parts["Hyperparameters and final losses"]
    for line, run, final in zip(table[1:3], ("decay", "fixed"), (curves[-1][1:3], curves[-1][3:]), strict=True):
        cells = line.split()
        assert cells[0] == run
        assert [float(cell.replace(",", "")) for cell in cells[-6:]] == [10, 200, 3, 11897, *final]
    check_pictures(parts["Pictures"], tmp_path, ["lr_finder.png", "step_decay.png", *EMBEDDING])


@pytest.mark.parametrize(
    ("script", "section", "shown"),
    [
        ("day08_bigram.py", "Bigram pairs", "27 names over 9 characters, XZaeilnÉş"),
        ("day10_mlp.py", "Contexts", "108 windows of 3 characters and the next one: 84 train, 24 val"),
    ],
)
def test_other_names_get_tables_of_their_own_size(start, tmp_path, script, section, shown):
    """Nine distinct characters, capitals and accents among them; whole names are split."""
    (tmp_path / "names.txt").write_text("\n".join(a + b + c for a in "ÉZX" for b in "aei" for c in "nlş"), "utf-8")
    done = start(script, "--data", "names.txt", "--steps", "3", "--out", "out")
    assert (done.returncode, done.stderr) == (0, "")
    parts = by_heading(done.stdout)
    assert shown in parts[section]
    if script == "day10_mlp.py":
        parameters = 10 * 10 + (30 * 200 + 200) + (200 * 10 + 10)
        assert f" {parameters:,} " in parts["Hyperparameters and final losses"][1]
    drawn = [file for file in (tmp_path / "out").iterdir() if file.suffix in (".png", ".gif")]
    assert len(drawn) == len([line for line in parts["Pictures"] if line])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--data", "missing.txt"],
            r"day08_bigram\.py: error: there is no names file .*missing\.txt; give an existing",
        ),
        (["--stps", "3"], r"Did you mean --steps\?"),
    ],
)
def test_a_mistake_is_a_sentence_and_status_2(start, arguments, message):
    done = start("day08_bigram.py", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(message, done.stderr)
    assert done.stderr.count("\n") == 1
