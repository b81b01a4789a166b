"""The wheel is complete: it is built, installed away from the sources and used in an empty directory."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
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
    return next((source / "dist").glob("lightning_charlm-*-py3-none-any.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The bin directory of an environment with the wheel; its dependencies come from the running environment."""
    home = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    packages = next(home.glob("lib/python*/site-packages"))
    # a path in a .pth file comes after the environment's own packages, and .pth files in that path are not read, so
    # an editable charlm is not found
    here = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
    (packages / "dependencies.pth").write_text("\n".join(here) + "\n")
    return home / "bin"


def test_the_wheel_holds_every_source_and_every_data_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {p.relative_to(ROOT).as_posix() for kind in ("*.py", "*.yaml") for p in ROOT.glob(f"charlm/**/{kind}")}
    assert expected | {"charlm/data/us_census_1990.csv", "charlm/py.typed"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"charlm", "lightning_charlm"}


def test_the_wheel_is_used_under_its_own_name(installed, tmp_path):
    """The distribution is lightning-charlm, the import and the command are charlm."""
    code = "import charlm, importlib.metadata as m; print(charlm.__file__, m.version('lightning-charlm'))"
    where, version = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert Path(where).is_relative_to(installed.parent)
    assert run(installed / "charlm", "--version", cwd=tmp_path).split() == ["charlm", version]


def test_fit_runs_from_the_wheel_in_an_empty_directory(installed, tmp_path):
    run(installed / "charlm", "fit", "--config", "mlp", "--trainer.fast_dev_run", "true", cwd=tmp_path)
