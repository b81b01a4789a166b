"""The wheel is whole: built, installed away from the sources, and used from an empty directory."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, cwd, **kwargs):
    outside = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=outside, capture_output=True, text=True, **kwargs)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left in the checkout."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "charlm", source / "charlm", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-P", "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", cwd=source)
    return next((source / "dist").glob("charlm-*-py3-none-any.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin directory of an environment that holds the wheel; what it depends on is seen from here, by path."""
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    packages = next(home.glob("lib/python*/site-packages"))
    # a path in a .pth comes after the environment's own packages, and the .pth files there are not read, so an
    # editable charlm stays out of sight
    here = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    (packages / "dependencies.pth").write_text("\n".join(here) + "\n")
    return home / "bin"


def test_the_wheel_holds_every_source_and_every_data_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("charlm/**/*.py")}
    configs = {p.relative_to(ROOT).as_posix() for p in ROOT.glob("charlm/configs/*.yaml")}
    assert configs
    assert sources | configs | {"charlm/data/names.txt", "charlm/py.typed"} <= names
    assert not [name for name in names if not name.startswith("charlm")]


def test_the_wheel_is_what_is_used(installed, tmp_path):
    where = run(installed / "python", "-c", "import charlm; print(charlm.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)


def test_the_callbacks_import_from_the_wheel(installed, tmp_path):
    code = "from charlm.callbacks import EmbeddingPCA, StepDecay; print(StepDecay([2]), EmbeddingPCA())"
    out = run(installed / "python", "-c", code, cwd=tmp_path)
    assert "StepDecay" in out
    assert "EmbeddingPCA" in out


@pytest.mark.parametrize("arguments", [[], ["--config", "mlp"]], ids=["alone", "shipped config"])
def test_fit_runs_from_the_wheel_in_an_empty_directory(installed, tmp_path, arguments):
    run(installed / "charlm", "fit", *arguments, "--trainer.fast_dev_run", "true", cwd=tmp_path)
