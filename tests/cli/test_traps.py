"""What LightningCLI and TensorBoard do to the unwary, and what does not happen here: a test each, named by that."""

import logging
import re
import shutil
import warnings
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from charlm.cli.main import main
from charlm.data.corpus import read_corpus
from charlm.data.datamodule import NamesDataModule
from charlm.models.base import LitCharLM
from charlm.models.windows import LitBigram, LitMLP
from charlm.runs.checkpoint import load_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own use of jsonargparse

RUN = Path("lightning_logs/version_0")
SMALL = """
model: {class_path: LitMLP, init_args: {n_embd: 2, n_hidden: 4}}
data: {path: NAMES, batch_size: 16}
trainer: {max_steps: 4, max_epochs: -1, val_check_interval: 2, check_val_every_n_epoch: null, log_every_n_steps: 1,
  accelerator: cpu, enable_model_summary: false}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, alone):
    """A directory with a names file, a config and a run of that config."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "names.txt").write_text("\n".join(read_corpus().names()[::40]) + "\n")
    (folder / "small.yaml").write_text(SMALL.replace("NAMES", str(folder / "names.txt")))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        alone(patch, folder)
        warnings.simplefilter("ignore")
        main(["fit", "--config", "small.yaml"])
    return folder


@pytest.fixture
def cli(trained, tmp_path, monkeypatch, capsys, alone):
    """Run a command line in a copy of that directory; gives the exit status and standard error."""
    alone(monkeypatch, tmp_path)
    shutil.copytree(trained, ".", dirs_exist_ok=True)

    def run(*args):
        capsys.readouterr()
        try:
            main(list(args))
        except SystemExit as end:
            return end.code or 0, capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def files(folder="."):
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


def tags(run, kind="scalars"):
    return EventAccumulator(str(run)).Reload().Tags()[kind]


def test_2_a_checkpoint_does_not_need_the_model_to_be_named(cli):
    """Though it is not the default one."""
    cli("fit", "--config", "small.yaml", "--model=Bigram", "--data.block_size=1")
    status, err = cli("test", "--ckpt_path", "lightning_logs/version_1")
    assert status == 0
    assert "LitBigram after" in err


@pytest.mark.parametrize("load", [LitCharLM.load_from_checkpoint, LitMLP.load_from_checkpoint])
def test_3_the_base_class_does_not_refuse_a_checkpoint_of_a_subclass(load, cli):
    model = load(RUN / "checkpoints/last.ckpt")
    assert type(model) is LitMLP
    assert model.hparams["n_hidden"] == 4
    trained = load_checkpoint(RUN / "checkpoints/last.ckpt").net
    assert all(torch.equal(a, b) for a, b in zip(model.net.parameters(), trained.parameters(), strict=True))


@pytest.mark.parametrize("kind", [LitBigram, LitMLP])
def test_4_hyperparameters_do_not_poison_a_checkpoint_that_was_made_without_the_command_line(kind, cli):
    data = NamesDataModule("names.txt", batch_size=16)

    def trainer(steps):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        return pl.Trainer(max_steps=steps, max_epochs=-1, enable_checkpointing=False, limit_val_batches=0, **quiet)

    first = trainer(2)
    first.fit(kind(alphabet=data.alphabet, optimizer="AdamW"), data)
    first.save_checkpoint("alone.ckpt")
    content = torch.load("alone.ckpt", weights_only=True)
    hyperparameters = content["hyper_parameters"]
    assert all(isinstance(value, int | float | str | None) for value in hyperparameters.values())
    assert yaml.safe_load(yaml.safe_dump(hyperparameters)) == dict(hyperparameters)
    again = trainer(3)
    again.fit(LitCharLM.load_from_checkpoint("alone.ckpt"), data, ckpt_path="alone.ckpt", weights_only=True)
    assert again.global_step == 3


def test_5_the_hparams_tab_does_not_show_placeholders_nor_one_runs_columns(cli):
    """No hp_metric, and no experiment summary, of which TensorBoard would pick one run's."""
    assert "hp_metric" not in tags(RUN)
    plugins = EventAccumulator(str(RUN)).Reload().summary_metadata
    written = {tag for tag, summary in plugins.items() if summary.plugin_data.plugin_name == metadata.PLUGIN_NAME}
    assert written == {metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG}
    content = plugins[metadata.SESSION_START_INFO_TAG].plugin_data.content
    columns = dict(metadata.parse_session_start_info_plugin_data(content).hparams)
    assert columns["model"].string_value == "MLP"
    assert columns["n_hidden"].number_value == 4
    assert not [name for name in columns if name.startswith("_") or "/" in name]
    assert "vocab_size" not in columns, "null is no value"


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_9_an_evaluation_does_not_write_a_config_or_a_version_of_its_own(command, cli):
    before = files()
    assert cli(command)[0] == 0
    new = {path for path in files() if path not in before}
    allowed = {"validate": "$^", "test": r"events\.out", "predict": r"predictions\.csv$"}[command]
    assert all(re.search(allowed, path) and path.startswith(str(RUN)) for path in new)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_9_a_run_without_a_logger_does_not_write_a_config_that_stops_the_next_one(cli):
    for _ in range(2):
        status, _ = cli("fit", "--config", "small.yaml", "--trainer.logger=false")
        assert status == 0
    assert not Path("config.yaml").exists()
    assert [path.name for path in Path("lightning_logs").iterdir()] == ["version_0"]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_9_resuming_into_the_same_version_does_not_die_of_its_config(cli):
    logger = ["--trainer.logger=TensorBoardLogger", "--trainer.logger.save_dir=.", "--trainer.logger.version=0"]
    status, _ = cli("fit", "--config", "small.yaml", "--ckpt_path", str(RUN), *logger, "--trainer.max_steps=6")
    assert status == 0
    assert yaml.safe_load((RUN / "config.yaml").read_text())["trainer"]["max_steps"] == 6


CALLBACKS = """
trainer:
  callbacks{plus}:
    - class_path: EarlyStopping
      init_args: {{monitor: loss/val}}
"""


@pytest.mark.parametrize(
    ("plus", "kinds"),
    [("+", ["StepsPerExecution", "StepDecay", "EmbeddingPCA", "EarlyStopping"]), ("", ["EarlyStopping"])],
)
def test_11_a_config_with_callbacks_does_not_drop_the_earlier_ones_unless_it_says_so(plus, kinds, cli, capsys):
    Path("more.yaml").write_text(CALLBACKS.format(plus=plus))
    with pytest.raises(SystemExit):
        main(["fit", "--config", "mlp", "--config", "more.yaml", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)["trainer"]["callbacks"]
    assert [callback["class_path"].split(".")[-1] for callback in printed] == kinds


def test_11_a_list_of_callbacks_does_not_drop_the_checkpoints_nor_the_saved_config(cli):
    Path("more.yaml").write_text(CALLBACKS.format(plus=""))
    status, err = cli("fit", "--config", "small.yaml", "--config", "more.yaml")
    assert status == 0
    run = Path("lightning_logs/version_1")
    assert {path.name for path in run.glob("checkpoints/*")} == {"best.ckpt", "last.ckpt"}
    assert (run / "config.yaml").exists()
    assert "4/4 steps" in err


def test_15_the_name_of_a_checkpoint_does_not_make_a_directory(cli):
    assert {path.name: path.is_file() for path in (RUN / "checkpoints").iterdir()} == {
        "best.ckpt": True,
        "last.ckpt": True,
    }


def test_17_the_train_loss_does_not_split_into_two_tags(cli):
    losses = {tag for tag in tags(RUN) if "loss" in tag}
    assert losses == {"loss/train", "loss_mean/train", "loss/val", "loss/test"}
    assert not [tag for tag in tags(RUN) if tag.endswith(("_step", "_epoch"))]


def test_21_lightning_does_not_advertise(cli, caplog):
    caplog.set_level(logging.INFO)
    assert cli("fit", "--config", "small.yaml")[0] == 0
    assert cli("validate")[0] == 0
    assert "names over" in caplog.text
    assert not re.search("Tip|litlogger|litmodels|lightning.ai", caplog.text)


def test_29_the_seed_is_not_0_by_default_nor_left_to_a_warning(cli, recwarn):
    assert cli("fit", "--config", "small.yaml", "--trainer.fast_dev_run=true")[0] == 0
    assert yaml.safe_load((RUN / "config.yaml").read_text())["seed_everything"] == 42
    assert not [warning for warning in recwarn if "seed" in str(warning.message).lower()]
