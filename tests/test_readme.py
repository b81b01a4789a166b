"""Every command and every example of the README does what it says, with fewer steps."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from charlm.cli.commands.export import export
from charlm.cli.main import main
from charlm.models.windows import LitGRU

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BY_OTHER_TESTS = {"scripts/run", "scripts/test"}  # tests/test_scripts.py
FEWER_STEPS = {
    "Bigram": ["--trainer.max_epochs=4", "--trainer.check_val_every_n_epoch=2", "--trainer.log_every_n_steps=1"],
    "MLP": ["--trainer.max_steps=10", "--trainer.val_check_interval=5", "--trainer.log_every_n_steps=5"],
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands(language):
    return [line[2:] for block in blocks(language) for line in block.splitlines() if line.startswith("$ ")]


def run_dashboard(words):
    command = [sys.executable, "-m", "charlm", *words[1:], "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert any("http://" in line for line in process.stdout)
        process.terminate()


def run(command, python):
    words = shlex.split(command)
    if words[:2] == ["charlm", "dashboard"]:
        run_dashboard(words)
    elif words[0] == "charlm":
        extra = FEWER_STEPS["Bigram" if "Bigram" in words else "MLP"] if words[1] == "fit" else []
        main([*words[1:], *extra])
    else:
        python(ROOT / words[1], "--steps", "20").check_returncode()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_commands_run_one_after_the_other(tmp_path, monkeypatch, capsys, python):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    Path("my_names.txt").write_text("\n".join(["Maria", "Mario", "Marta", "Xaver", "Quintus"] * 8 + list("MARIAXQZ")))
    done = [command for command in commands("console") if command not in BY_OTHER_TESTS]
    assert len(done) >= 12
    for command in done:
        run(command, python)
    out = capsys.readouterr().out
    assert "The first 10 names it draws" in out
    assert "largest difference" in out


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The files that the commands before the examples leave."""
    folder = tmp_path_factory.mktemp("exported")
    model = LitGRU()
    content = {"state_dict": model.state_dict(), "global_step": 0, "hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(content)
    torch.save(content, folder / "last.ckpt")
    for kind, suffix in (("onnx", "onnx"), ("safetensors", "safetensors")):
        export(str(folder / "last.ckpt"), kind, str(folder / f"names.{suffix}"))
    return folder


@pytest.mark.parametrize("example", blocks("python"))
def test_the_python_examples_run(example, exported, tmp_path, python):
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    Path(tmp_path, "example.py").write_text(example, encoding="utf-8")
    ran = python("example.py")
    assert ran.returncode == 0, ran.stderr


def test_the_mistake_is_answered_as_shown(capsys):
    (block,) = [block for block in blocks("text") if block.startswith("$ ")]
    command, answer = block.splitlines()
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(command)[2:])
    assert stop.value.code == 2
    assert capsys.readouterr().err.strip() == answer


def test_the_picture_is_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README, re.DOTALL)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


@pytest.mark.slow
def test_the_architecture_of_the_contributors_section_trains_and_samples(tmp_path, python):
    """The diff is applied to a copy of the package, and the new net goes all the way."""
    (diff,) = blocks("diff")
    shutil.copytree(ROOT / "charlm", tmp_path / "charlm")
    (tmp_path / "new.diff").write_text(diff, encoding="utf-8")
    subprocess.run(["git", "apply", "new.diff"], cwd=tmp_path, check=True, timeout=60)

    def charlm(*words):
        done = python("-m", "charlm", *words, PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "LogBilinear" in charlm("fit", "--config", "logbilinear", "--trainer.max_epochs=1")
    assert len(charlm("sample", "-n", "7").splitlines()) == 7
    (loss,) = re.findall(r"mean over 2 names: ([0-9.]+) nats/character", charlm("score", "maria", "xqz"))
    assert 2 < float(loss) < 5
