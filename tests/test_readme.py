"""Every command, Python block, picture and path in every README.md; trainings take fewer steps.

A README's ```console commands (lines that begin with "$ ") and ```python blocks run in their order, in a folder that
has two trained runs and `my_names.txt`. A ```diff is applied to a copy of the package. A ```text block that begins with
"$ charlm" shows a mistake and its answer.
"""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from charlm.cli.main import main

ROOT = Path(__file__).parents[1]
READMES = {
    str(file.relative_to(ROOT)): file.read_text(encoding="utf-8")
    for file in [ROOT / "README.md", *sorted(ROOT.glob("[a-z]*/**/README.md"))]
}
BY_OTHER_TESTS = ("scripts/run", "scripts/test", "pip install", "source ", "git clone", "export ")
LONG = ("scripts/bench/", "scripts/reliability/", "scripts/pictures/", "scripts/results.py", "scripts/parallel_runs.py")
FEWER_STEPS = {
    "ngram": [],
    "Bigram": ["--trainer.max_epochs=4", "--trainer.check_val_every_n_epoch=2", "--trainer.log_every_n_steps=1"],
    "MLP": ["--trainer.max_steps=10", "--trainer.val_check_interval=5", "--trainer.log_every_n_steps=5"],
}
NAMES = ["Maria", "Mario", "Marta", "Xaver", "Quintus"] * 8 + list("MARIAXQZ")


def blocks(readme, languages):
    """The (language, text) of each block in one of the `languages`, which are written a|b."""
    return re.findall(rf"^```({languages})\n(.*?)^```$", READMES[readme], re.DOTALL | re.MULTILINE)


def commands(block):
    lines = [line[2:] for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith(BY_OTHER_TESTS)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, alone):
    """Two runs of an MLP and a list of names."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        alone(patch, folder)
        Path("my_names.txt").write_text("\n".join(NAMES) + "\n")
        main(["fit", "--trainer.enable_progress_bar=false", *FEWER_STEPS["MLP"]])
        (run,) = Path("lightning_logs").iterdir()
        shutil.copytree(run, run.with_name("002-mlp"))
    return folder


@pytest.fixture
def folder(workspace, tmp_path, monkeypatch, alone):
    """A copy of the workspace, as the current directory."""
    shutil.copytree(workspace, tmp_path, dirs_exist_ok=True)
    alone(monkeypatch, tmp_path)
    return tmp_path


def show_dashboard(words):
    command = [sys.executable, "-m", "charlm", *words[1:], "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert any("http://" in line for line in process.stdout)
        process.terminate()


def run(command, python):
    words = shlex.split(command, comments=True)
    if words[:2] == ["charlm", "dashboard"]:
        show_dashboard(words)
    elif words[0] == "charlm":
        fewer = next((FEWER_STEPS[kind] for kind in FEWER_STEPS if kind in words), FEWER_STEPS["MLP"])
        main([*words[1:], *(fewer if words[1] == "fit" else [])])
    elif words[0] == "torchrun":
        done = python("-m", "torch.distributed.run", *words[1:], *FEWER_STEPS["MLP"])
        assert done.returncode == 0, done.stderr
    elif words[0] == "python" and words[1].startswith(LONG):
        options = {word.partition("=")[0] for word in words[2:] if word.startswith("--")}
        missing = options - set(re.findall(r"--\w+", python(ROOT / words[1], "--help").stdout))
        assert not missing, f"{words[1]} has no option {missing}; tests/scripts runs it"
    else:
        assert words[0] == "python", command
        done = python(ROOT / words[1], *words[2:], "--steps", "20")
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("readme", [readme for readme in READMES if blocks(readme, "console|python")])
def test_the_commands_and_examples_run_one_after_the_other(readme, python):
    for language, block in blocks(readme, "console|python"):
        if language == "python":
            exec(compile(block, readme, "exec"), {"__name__": "__main__"})
        else:
            for command in commands(block):
                run(command, python)


def test_the_top_readme_has_commands_and_examples():
    assert {language for language, _ in blocks("README.md", "console|python")} == {"console", "python"}


def test_mistakes_are_answered_as_shown(capsys):
    shown = [block for readme in READMES for _, block in blocks(readme, "text")]
    for block in [block for block in shown if block.startswith("$ charlm ")]:
        command, answer = block.rstrip("\n").split("\n", 1)
        with pytest.raises(SystemExit) as stop:
            main(shlex.split(command)[2:])
        assert stop.value.code == 2
        assert capsys.readouterr().err.strip() == answer


def test_pictures_and_links_are_there():
    for readme, text in READMES.items():
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
        targets = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose) if "://" not in link]
        missing = [target for target in targets if not (ROOT / readme).parent.joinpath(target).exists()]
        assert missing == [], readme
        assert [name for name in re.findall(r"\bscripts/[\w/]+\.py", text) if not (ROOT / name).is_file()] == [], readme
    assert "![" in READMES["README.md"]


@pytest.mark.slow
@pytest.mark.parametrize("readme", [readme for readme in READMES if blocks(readme, "diff")])
def test_the_new_architecture_trains_and_samples(readme, tmp_path, python):
    """The diff is applied to a copy of the package, and the new net is trained, sampled from and asked for scores."""
    ((_, diff),) = blocks(readme, "diff")
    (config,) = re.findall(r"^\+\+\+ b/charlm/configs/(.*)\.yaml$", diff, re.MULTILINE)
    shutil.copytree(ROOT / "charlm", tmp_path / "charlm")
    (tmp_path / "new.diff").write_text(diff, encoding="utf-8")
    subprocess.run(["git", "apply", "new.diff"], cwd=tmp_path, check=True, timeout=60)

    def charlm(*words):
        done = python("-m", "charlm", *words, PYTHONPATH=str(tmp_path))
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "LogBilinear" in charlm("fit", "--config", config, "--trainer.max_epochs=1")
    assert len(charlm("sample", "-n", "7").splitlines()) == 7
    (loss,) = re.findall(r"mean over 2 names: ([0-9.]+) nats/character", charlm("score", "maria", "xqz"))
    assert 2 < float(loss) < 5
