"""`charlm fit --init_from`: a training that starts from another run's weights, on other names."""

import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from charlm.runs.load_checkpoint import load_checkpoint

OTHER = ["--data", "other.txt", "--trainer.max_steps", "4", "--trainer.val_check_interval", "2"]


@pytest.fixture
def start(run):
    """The shared run; and a file of names with a letter that it does not have."""
    Path("other.txt").write_text("\n".join(f"{first}é{last}" for first in "abcdefgh" for last in "nmts"))
    return load_checkpoint(run)


def test_the_model_and_its_sizes_are_the_runs_and_the_names_are_new(start, cli):
    done = cli("fit", "--init_from", "1", *OTHER, "--model.lr=0", "--trainer.callbacks=[]", "--name", "mine")
    assert (done.status, "new letters: 'é'" in done.err) == (0, True)
    mine = load_checkpoint("lightning_logs/002-mine")
    assert mine.tokenizer.alphabet == "abcdefghmnsté"
    assert {**mine.net_args, "vocab_size": 27} == start.net_args
    old, new = start.net.state_dict(), mine.net.state_dict()
    ids = [0, *(1 + start.tokenizer.alphabet.index(letter) for letter in "abcdefghmnst")]
    assert torch.equal(new["embedding.weight"][:13], old["embedding.weight"][ids])
    assert torch.equal(new["output.weight"][:13], old["output.weight"][ids])
    assert torch.equal(new["hidden.weight"], old["hidden.weight"])
    assert "init_from" in Path("lightning_logs/002-mine/results.json").read_text()


def test_such_a_run_goes_on_exactly_without_the_first_one(start, cli):
    begin = ["fit", "--init_from=lightning_logs/001-run", *OTHER[:2], "--trainer.callbacks=[]"]
    assert cli(*begin, "--trainer.max_steps=9", "--name=whole").status == 0
    assert cli(*begin, "--trainer.max_steps=4", "--name=stopped").status == 0
    shutil.rmtree("lightning_logs/001-run")
    assert cli("fit", "--resume", "--trainer.max_steps=9").status == 0
    whole, stopped = (
        torch.load(f"lightning_logs/{run}/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in ("002-whole", "003-stopped")
    )
    assert all(torch.equal(weight, stopped[name]) for name, weight in whole.items())
    assert cli("fit", "--ckpt_path=3", "--trainer.max_steps=10", "--name=more").status == 0
    assert yaml.safe_load(Path("lightning_logs/004-more/config.yaml").read_text())["init_from"] is None


REFUSED = {
    "fit --init_from 7": "7 does not exist; pass a .ckpt file, or a run by",
    "fit --init_from 1 --config gru": "holds the weights of MLP, which do not fit GRU",
    "fit --init_from 1 --model.n_hidden 5": "has n_hidden 4, not 5; give the run's, or leave it out",
    "fit --init_from 1 --resume": "--init_from begins a new run, and --resume goes on with one; leave one",
    "fit --init_from 1 --ckpt_path 1": "and --ckpt_path goes on with one",
    "lr-find --init_from 1": "--init_from begins a training; use it with `charlm fit`",
}


@pytest.mark.parametrize(("line", "message"), REFUSED.items())
def test_what_does_not_fit_is_refused_in_a_sentence_and_leaves_no_run(line, message, start, cli):
    done = cli(*line.split())
    assert done.status == 2
    assert re.search(message, " ".join(done.err.split()))
    assert [folder.name for folder in Path("lightning_logs").iterdir()] == ["001-run"]
