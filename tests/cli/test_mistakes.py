"""Mistakes of users end with a sentence and status 2; defects keep their traceback."""

import re
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import Logger

from charlm.cli.short_errors import ShortErrors

MISTAKES = {
    "fit --trainer.max_stepz 3": r"there is no option --trainer.max_stepz\. Did you mean --trainer.max_steps\?",
    "test --ckpt_path=null --ckpt lightning_logs": r"there is no option --ckpt\. Did you mean --ckpt_path\?",
    "fit --model.n_hiden 3": r"--model.n_hiden is no argument of LitMLP\. Did you mean --model.n_hidden\?",
    "fit --MODEL MLP": r"there is no option --MODEL\. Did you mean --model\?",
    "fit --data.pad maybe": r"--data.pad is 'maybe'; allowed: true or false",
    "fit --data.split 0.5": r"--data.split is '0.5'; allowed: a list",
    "fit --model mlp": r"there is no model 'mlp'; the models are .*MLP.*\. Did you mean MLP\?",
    "fit --config mpl": r"there is no config file mpl, nor a shipped config .*: .*, wavenet\. Did you mean mlp\?",
    "fti": r"there is no command 'fti'; the commands are fit, .*, compare-counts\. Did you mean fit\?",
    "fit --trainer.callbacks+=EmbedingPCA": r"no class 'EmbedingPCA' for --trainer.callbacks\. Did you mean Embedding",
    "fit --trainer.callbacks+=StepDecay": r"cannot make StepDecay, the following arguments are required: milestones",
    "fit --trainer.max_steps many": r"--trainer.max_steps is 'many'; allowed: a whole number",
    "fit --model.n_hidden 1000000000000": r"not enough memory; make the model, the batch or the file smaller",
    "fit --trainer.val_check_interval 0": r"--trainer.val_check_interval is 0; give 1 or more",
    "fit --trainer.strategy ddp_spawn": r"--trainer.strategy ddp_spawn is for notebooks; give ddp",
    "fit --data.split_seed -1": r" --data.split_seed is -1; give a whole number of 0 or more",
    "fit --model GRU --model.dropout 2": r" --model.dropout is 2.0; give a share",
    "fit --data.weight #": r"--data.weight begins with '#', and YAML reads '#' as nothing; write",
    "test --data &names.txt": r"--data.path begins with '&', and YAML reads '&names.txt' as nothing; write ./ before a",
    "fit --data.path bad.txt": r"bad.txt, line 3: U\+0001 is a control character; remove it",
    "fit --model.block_size 5": r"--model.block_size comes from the data; give --data.block_size instead",
    "fit --trainer.default_root_dir bad.txt": r"bad.txt/lightning_logs cannot take another run \(Not a dir",
    "fit --trainer.accelerator tpu": r"Requirement 'torch_xla\S+' not met",
    "fit three": r"unexpected argument 'three'; options begin with --, see charlm fit --help",
    "test --ckpt_path bad.txt": r"bad.txt is some other file, not a checkpoint; pass a .ckpt file",
    "fit --config evil.yaml": r"other.ckpt is not charlm's: it holds more than tensors and plain values; none",
    "lr-find --min_lr 20": r"min_lr is 20\.0 and max_lr is 10\.0; give",
    "lr-find --rule magic": r"rule is 'magic'; give one of .*valley",
    "lr-find --trainer.max_steps 0": "there was no search, as this training has no step",
    "dashboard": "lightning_logs is not a directory; train a run with `charlm fit`, or give a directory with runs",
    "dashboard --port 65536": "--port is 65536; allowed: 0 to 65535",
    "dashboard --host 192.0.2.1 .": "TensorBoard cannot listen on 192.0.2.1, port 6006: Cannot assign requested",
    "validate": r"no run under lightning_logs; train one with `charlm fit`",
    "score": r"charlm score: error: the following arguments are required: names",
}


def test_a_message_that_is_not_known_is_cut_to_its_beginning():
    assert ShortErrors().explain("first\n  - second\n\nthird") == "first second"
    assert len(ShortErrors().explain("x" * 5000)) == 400


def files():
    return {path for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_ends_with_status_2_and_a_sentence(line, cli):
    Path("bad.txt").write_text("anna\nbob\nb\x01b\n")
    Path("evil.yaml").write_text("ckpt_path: other.ckpt")
    torch.save({"path": Path("other")}, "other.ckpt")
    before = files()
    done = cli(*line.split())
    assert (done.status, done.out) == (2, "")
    *notes, message = done.err.splitlines()
    assert re.match(r"charlm[\w -]*: error: ", message)
    assert re.search(MISTAKES[line], message)
    assert len(message) < 400
    assert len(notes) <= 1
    assert files() == before


BROKEN = """
from charlm.models.windows import LitMLP

class Broken(LitMLP):
    def training_step(self, batch, batch_idx):
        {line}
"""


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("return 1 / 0", ZeroDivisionError),
        ("raise ValueError('of the model, not of charlm')", ValueError),
        ("import numpy; numpy.zeros(2).reshape(3)", ValueError),
    ],
)
def test_a_defect_keeps_its_traceback(line, error, cli, small, monkeypatch):
    monkeypatch.syspath_prepend(".")
    name = f"broken_{len(line)}"  # a module of its own for each
    Path(f"{name}.py").write_text(BROKEN.format(line=line))
    with pytest.raises(error):
        cli("fit", "--config", small, f"--model={name}.Broken", "--trainer.logger=false")


class RefusedError(Exception):
    """Of a package that makes a logger, as mlflow's MlflowException."""


class Refusing(Logger):
    name = version = "refusing"

    def __init__(self):
        raise RefusedError("the folder is of an old format; migrate it")

    def log_metrics(self, metrics, step=None):
        pass

    log_hyperparams = log_metrics


def test_a_logger_that_refuses_to_be_made_ends_with_its_sentence(cli, small):
    done = cli("fit", "--config", small, f"--trainer.logger={__name__}.Refusing")
    assert done.status == 2
    assert done.err.splitlines()[-1] == "charlm: error: the folder is of an old format; migrate it"
