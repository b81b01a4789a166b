import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter

from charlm.cli.commands.plot import plot, spell_drops


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a run of 40 steps into lightning_logs of the working directory; its rate drops to a tenth at `drop`."""
    monkeypatch.chdir(tmp_path)

    def write(name, drop=None, tags=("loss/train", "loss/val"), config=None):
        run = Path("lightning_logs") / name
        with SummaryWriter(str(run)) as writer:
            for step in range(40):
                writer.add_scalar(tags[0], 2 + 1 / (step + 1), step)
                writer.add_scalar("lr", 0.1 if drop is None or step < drop else 0.01, step)
                if step % 10 == 9:
                    writer.add_scalar(tags[1], 2.5, step)
        if config:
            (run / "config.yaml").write_text(config)
        return run

    return write


def texts(file="loss.svg"):
    """All texts of an SVG picture, which matplotlib writes as comments beside their shapes."""
    return re.findall(r"<!-- (.*?) -->", Path(file).read_text(encoding="utf-8"))


def test_two_runs_are_named_and_the_drop_is_marked(write, capsys):
    plot([str(write("decay", drop=30)), str(write("fixed"))], out="loss.svg")
    assert capsys.readouterr().out == "loss.svg\n"
    shown = texts()
    assert [text for text in shown if text.startswith("lr")] == ["lr 0.1 → 0.01 at 30"]
    assert [text for text in shown if text[:5] in ("decay", "fixed")] == ["decay: 2.5000", "fixed: 2.5000"]
    assert {"train", "val", "lowest val"} <= set(shown)
    assert "loss" in shown


def test_without_a_word_it_is_the_newest_run_as_a_png(write):
    write("version_0")
    write("version_1", config="model:\n")
    write("compare-0-1", tags=("compare", "other"))  # no run
    plot()
    assert imread("loss.png").shape == (644, 1008, 4)
    plot(out="loss.svg")
    assert [text for text in texts() if text.startswith("version")] == ["version_1: 2.5000"]


@pytest.mark.parametrize(
    ("config", "label"),
    [("model:\n  class_path: charlm.models.windows.LitMLP\n", "loss (nats per character)"),
     ("model:\n  class_path: mine.Model\n", "loss"), (None, "loss")],
)  # fmt: skip
def test_the_unit_is_said_where_it_is_known(write, config, label):
    plot([str(write("run", config=config))], out="loss.svg")
    assert label in texts()


def test_the_suffix_is_the_format_and_an_old_file_is_replaced(write):
    file = Path("new") / "folder" / "curves.PDF"
    write("run")
    for _ in range(2):
        plot(out=str(file))
        assert file.read_bytes().startswith(b"%PDF")
        file.write_bytes(b"old")


def test_a_run_without_losses_is_refused_with_the_tags_it_has(write):
    run = write("run", tags=("train_loss", "val_loss"))
    message = r"run has no loss/train or loss/val; it has lr, train_loss, val_loss: name two by --train and --val"
    with pytest.raises(ValueError, match=message):
        plot([str(run)])


def test_a_run_shorter_than_the_logging_interval_shows_its_val_loss_and_says_so(write, capsys):
    plot([str(write("short", tags=("other", "loss/val")))], out="loss.svg")
    assert re.search(r"short has no loss/train, so only loss/val.*log_every_n_steps.*lower", capsys.readouterr().err)
    assert ("train" in texts(), "val" in texts()) == (False, True)


def test_losses_that_are_not_finite_are_drawn_without(write, capsys):
    for name, losses in {"bad": [2.0, np.nan, np.inf, 1e30], "nan": [np.nan] * 3}.items():
        with SummaryWriter(f"lightning_logs/{name}") as writer:
            for step, loss in enumerate(losses):
                writer.add_scalar("loss/train", loss, step)
    write("other")
    plot(["lightning_logs"], out="loss.svg")
    assert [text for text in texts() if text[:5] in ("bad", "nan", "other")] == ["bad", "other: 2.5000"]
    assert "lightning_logs/nan has no finite loss/train or loss/val; it has loss/train" in capsys.readouterr().err
    with pytest.raises(ValueError, match="nan has no finite loss/train or loss/val"):
        plot(["lightning_logs/nan"])


def test_the_runs_of_a_directory_are_found_each_once_behind_links_too_and_circles_end(write):
    write("one/version_0")
    run = write("two/version_0")
    Path("linked").mkdir()
    Path("linked/three").symlink_to(run.resolve(), target_is_directory=True)
    Path("linked/up").symlink_to(Path().resolve() / "linked", target_is_directory=True)
    plot(["lightning_logs", "lightning_logs/one"], out="loss.svg")
    assert [text for text in texts() if "version" in text] == ["one/version_0: 2.5000", "two/version_0: 2.5000"]
    plot(["linked"], out="loss.svg")
    assert {"three: 2.5000", "version_0: 2.5000"} & set(texts())


@pytest.mark.parametrize(
    ("drops", "text"),
    [
        ([(15000, 0.1, 0.01)], "lr 0.1 → 0.01 at 15,000"),
        ([(7, 0.1, 0.05), (7, 0.1, 0.05)], "lr 0.1 → 0.05 at 7"),
        ([(7, 0.4, 0.2), (7, 0.01, 0.005)], "lr times 0.5 at 7"),
        ([(7, 0.4, 0.2), (7, 0.01, 0.001)], "lr drops at 7"),
    ],
)
def test_a_drop_is_spelled_by_what_its_groups_share(drops, text):
    assert spell_drops(drops) == text
