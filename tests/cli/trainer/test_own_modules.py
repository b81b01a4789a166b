"""A model class of the user's own, in a module of the working folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.cli.main import main
from charlm.cli.trainer.settings import prepare
from charlm.runs.checkpoint_facts import checkpoint_facts
from charlm.runs.load_checkpoint import load_checkpoint

MODULE = """
from charlm import LitMLP

class MyNet(LitMLP):
    def __init__(self, strength: float = 0.5, n_hidden: int = 7, **training) -> None:
        super().__init__(n_hidden=n_hidden, **training)

    def penalty(self):
        return self.hparams["strength"] * self.net.embedding.weight.square().mean()
"""
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
KINDS = {"MLP": "LitMLP"}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def own(tmp_path, monkeypatch, alone):
    """A run of MyNet in the working folder; its module is forgotten afterwards."""
    alone(monkeypatch, tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_net", raising=False)
    Path("own_net.py").write_text(MODULE)
    Path("names.txt").write_text("\n".join(["emma", "olivia", "ava", "isabella", "sophia", "mia", "amelia", "luna"]))
    main(["fit", "--model=own_net.MyNet", "--model.strength=0.25", "--data=names.txt", "--trainer.max_steps=2", *QUIET])
    yield Path("lightning_logs/001-mynet-names-strength0.25-steps2")
    sys.modules.pop("own_net", None)


def test_an_own_class_works_in_every_command_by_its_name_and_arguments(own, capsys):
    main(["fit", "--resume", "--trainer.max_steps=3", *QUIET])
    main(["test", *QUIET])
    main(["predict", *QUIET])
    main(["summary"])
    assert "model MyNet, block_size 3, n_embd 10, n_hidden 7, " in " ".join(capsys.readouterr().out.split())
    held = load_checkpoint(own / "checkpoints" / "last.ckpt")
    assert (held.kind, held.hyperparameters["strength"], held.step) == ("own_net.MyNet", 0.25, 3)
    kind = sys.modules["own_net"].MyNet
    assert type(kind.load_from_checkpoint(held.path)) is kind


def test_a_checkpoint_alone_imports_no_class(own):
    """Only the run's own config, or the command line, names code."""
    shutil.copy(own / "checkpoints" / "last.ckpt", "downloaded.ckpt")
    del sys.modules["own_net"]
    with pytest.raises(ValueError, match=r"downloaded.ckpt holds a own_net.MyNet, .* name the class with --model"):
        prepare(["test", "--ckpt_path=downloaded.ckpt"], KINDS)
    assert "own_net" not in sys.modules
    named = ["test", "--ckpt_path=downloaded.ckpt", "--model=own_net.MyNet"]
    assert prepare(named, KINDS).kind == "own_net.MyNet"
    assert checkpoint_facts(Path("downloaded.ckpt"))["model"] == "MyNet"
    del sys.modules["own_net"]
    Path("own_net.py").unlink()
    with pytest.raises(ValueError, match=r"holds a own_net.MyNet, which cannot be imported; put its module into the"):
        prepare(named, KINDS)


def test_what_is_no_model_of_ones_own_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"--model is torch.nn.Linear, which is not a subclass of charlm.LitCharLM"):
        prepare(["fit", "--model=torch.nn.Linear"], KINDS)
    code = "import sys; from charlm.cli.main import main; main(['fit', '--model=no_module.Net'])"
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert told.returncode == 2
    assert "--model: cannot make Net, No module named 'no_module'" in told.stderr
