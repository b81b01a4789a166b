"""What a run leaves for W&B; the package itself is not needed for that."""

import os

from charlm.cli.trainer.loggers import loggers_of


def test_a_run_that_goes_on_goes_on_in_wandb_too_unless_the_user_names_another(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "of the user")
    (tmp_path / "wandb_id.txt").write_text("ftelb64u\n")
    loggers_of(tmp_path, None, False)
    assert os.environ["WANDB_RUN_ID"] == "of the user"
    monkeypatch.delenv("WANDB_RUN_ID")
    loggers_of(tmp_path, None, False)
    assert os.environ["WANDB_RUN_ID"] == "ftelb64u"
