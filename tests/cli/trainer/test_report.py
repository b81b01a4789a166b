import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

from charlm.cli.trainer.report import finish, print_go_on, print_names, print_next
from charlm.data.splits import load_splits
from charlm.nets.bigram import Bigram
from charlm.runs.load_checkpoint import Checkpoint

NAMES = "abc bca cab aa bb cc abab bcbc caca ab ba ac ca abba cbbc a".replace(" ", "\n")


@pytest.fixture
def splits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text(NAMES)
    return load_splits("names.txt", "abc", block_size=1, split=(0.5, 0.3, 0.2))


@pytest.fixture
def checkpoint(splits):
    """A bigram of three letters that is all but sure of "ab", in a run of its own."""
    net = Bigram(4)
    with torch.no_grad():
        for before, after in ((0, 1), (1, 2), (2, 0)):
            net.W[before, after] = 12.0
    folder = Path("lightning_logs/version_3/checkpoints")
    folder.mkdir(parents=True)
    return Checkpoint(folder / "best.ckpt", net, splits.tokenizer, {"lr": 50.0}, {}, None, step=1234)


def test_ctrl_c_amid_the_evaluation_says_that_the_training_is_saved(splits, checkpoint, capsys):
    def batches():
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        finish(checkpoint, {"train": batches()}, splits, {})
    said = capsys.readouterr().err
    assert "The training has ended and is saved; only its report is missing." in said
    assert re.search(r"\n\S*charlm test --ckpt_path lightning_logs/version_3/checkpoints/best.ckpt\n$", said)


@pytest.mark.parametrize("known", [True, False])
def test_ten_names_are_marked_new_or_in_train(known, splits, checkpoint, capsys):
    splits.name_split[splits.corpus.names().index("ab")] = 0 if known else 1
    print_names(checkpoint, splits)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "The first 10 names it draws:"
    assert len(lines) == 13
    assert f"  ab  {'in train' if known else 'new'}" in [re.sub(" {2,}", "  ", line) for line in lines]


def commands(capsys):
    """The three last lines: what stands before and what behind the spaces."""
    lines = capsys.readouterr().out.splitlines()
    return dict(line.split(maxsplit=1) if "names" not in line else line.split("   ", 1) for line in lines[-3:])


def test_the_next_commands_are_to_be_copied(splits, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    print_next(Path("lightning_logs/version_3"))
    assert commands(capsys) == {
        "Run": "lightning_logs/version_3",
        "TensorBoard": "charlm dashboard",
        "More names": "charlm sample --checkpoint lightning_logs/version_3 --new-only",
    }


def test_a_run_on_another_drive_of_windows_is_shown_by_its_whole_path(capsys, monkeypatch):
    def relpath(path):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")  # as os.path on Windows

    monkeypatch.setattr(os.path, "relpath", relpath)
    print_next(Path("/d/lightning_logs/version_3"))
    assert commands(capsys)["Run"] == "/d/lightning_logs/version_3"


def test_a_program_that_is_not_on_the_path_is_shown_by_its_place(capsys, monkeypatch, tmp_path):
    """Where the environment is not activated, as after scripts/run."""
    charlm = Path(sys.executable).parent / "charlm"
    if not charlm.exists():
        pytest.skip("charlm is not installed beside this Python")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("charlm") is None
    print_next(Path("lightning_logs/version_3"))
    program = commands(capsys)["TensorBoard"].removesuffix(" dashboard")
    assert (tmp_path / program).exists() or Path(program).resolve() == charlm.resolve()
    (tmp_path / "charlm").write_text("another one")
    (tmp_path / "charlm").chmod(0o755)
    print_next(Path("lightning_logs/version_3"))
    assert commands(capsys)["TensorBoard"].startswith(program)


@pytest.mark.parametrize(("nodes", "launch"), [("1", ""), ("2", "--nnodes 2 ")])
def test_under_torchrun_a_stopped_run_continues_with_as_many_processes(nodes, launch, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lightning_logs" / "001-a" / "checkpoints").mkdir(parents=True)
    (tmp_path / "lightning_logs" / "001-a" / "config.yaml").touch()
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": nodes}.items():
        monkeypatch.setenv(name, value)
    print_go_on(3, "lightning_logs/001-a/checkpoints/last.ckpt")
    assert f"\ntorchrun {launch}--nproc-per-node 4 -m charlm fit --resume 001-a\n" in capsys.readouterr().err
