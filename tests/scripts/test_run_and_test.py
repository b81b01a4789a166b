"""scripts/run and scripts/test in a clone, with the real pip and without a network.

The clone's package is a small stand-in that reports how it was called. Its dependencies come from the environment that
runs these tests, through PYTHONPATH, so pip has nothing to download.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
OFFLINE = {
    "PYTHONPATH": os.pathsep.join(p for p in sys.path if p.endswith(("site-packages", "dist-packages"))),
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_NO_BUILD_ISOLATION": "0",  # pip takes it as the value of build_isolation: 0 switches isolation off
}
PINNED = ("torch", "lightning", "pytest")
SCRIPTS = ("scripts/run", "scripts/test", "scripts/setup.sh", ".ci/run")
CLI = '''"""Reports how the command was called."""

import json
import os
import sys


def main() -> None:
    """Print the arguments and the current directory."""
    print(json.dumps({"arguments": sys.argv[1:], "directory": os.getcwd()}))
'''
TEST = """import pytest


def test_quick(request):
    print("directory:", request.config.invocation_params.dir)


@pytest.mark.slow
def test_slow():
    pass
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The packaging as it is, with a small package, a small suite and the installed versions of some packages."""
    directory = tmp_path_factory.mktemp("a clone") / "with spaces"
    for name in ("pyproject.toml", "LICENSE", *SCRIPTS):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, directory / name)
    for name, text in {
        "README.md": "# clone\n",
        "constraints.txt": "".join(f"{each.name}=={each.version}\n" for each in distributions() if each.name in PINNED),
        "charlm/__init__.py": '"""A stand-in."""\n\n__version__ = "0.1.0"\n',
        "charlm/cli/__init__.py": '"""A stand-in."""\n',
        "charlm/cli/main.py": CLI,
        "scripts/bench/bench.py": '"""A stand-in."""\n',
        "tests/test_clone.py": TEST,
    }.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


def start(script, *arguments, cwd, **env):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CHARLM_") and k != "PYTEST_ADDOPTS"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([script, *arguments], cwd=cwd, env=inherited | OFFLINE | env, text=True, **pipes)


def finish(process):
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def run(script, *arguments, cwd, **env):
    return finish(start(script, *arguments, cwd=cwd, **env))


def installed_at(clone):
    """When the package was installed, in nanoseconds."""
    return next(clone.glob(".venv/lib/python*/site-packages/lightning_charlm-*.dist-info")).stat().st_mtime_ns


@pytest.fixture(scope="module")
def first_runs(clone, tmp_path_factory):
    """A set-up that fails because torch cannot be had, then two at once that find everything."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    broken = run(clone / "scripts/run", cwd=elsewhere, PYTHONPATH="")
    both = [start(clone / "scripts/run", "--data.path", "names.txt", cwd=elsewhere) for _ in range(2)]
    return elsewhere, broken, [finish(process) for process in both]


def test_a_set_up_that_fails_says_so_and_trains_nothing(first_runs):
    _, (status, out, err), _ = first_runs
    assert (status, out) == (1, "")
    assert f"torch=={version('torch')}" in err
    assert err.splitlines()[-1].startswith("scripts/run: pip failed for the reason above (without a network")


def test_two_set_ups_at_once_finish_the_broken_one_and_run_from_any_directory(clone, first_runs):
    elsewhere, _, both = first_runs
    assert [status for status, _, _ in both] == [0, 0], both
    assert sorted("Installing packages into" in err for _, _, err in both) == [False, True]
    for _, out, _ in both:
        call = json.loads(out)
        assert call["arguments"] == ["fit", "--trainer.default_root_dir", str(clone), "--data.path", "names.txt"]
        assert call["directory"] == str(elsewhere)


@pytest.mark.usefixtures("first_runs")
def test_changed_pins_are_installed_and_serve_test_and_run(clone, tmp_path):
    before = installed_at(clone)
    status, out, err = run(clone / "scripts/run", cwd=tmp_path)
    assert (status, err, json.loads(out)["arguments"][0]) == (0, "", "fit")
    assert installed_at(clone) == before, "a second run installs nothing"
    with (clone / "constraints.txt").open("a") as pins:
        pins.write("# a newer set\n")
    status, out, err = run(clone / "scripts/test", cwd=tmp_path)
    assert status == 0, out + err
    assert "Installing packages into" in err
    assert "2 passed" in out
    assert installed_at(clone) > before
    assert run(clone / "scripts/run", cwd=tmp_path)[2] == ""


@pytest.mark.usefixtures("first_runs")
def test_quick_leaves_out_slow_tests_and_passes_arguments_to_pytest_in_the_root(clone, tmp_path):
    status, out, err = run(clone / "scripts/test", "--quick", "tests/test_clone.py", "-s", cwd=tmp_path)
    assert status == 0, out + err
    assert f"directory: {clone}" in out
    assert "1 passed, 1 deselected" in out
    steps = [line for line in err.splitlines() if line.startswith("==")]
    assert steps == ["== ruff check", "== ruff format", "== mypy", "== pytest"]


def test_a_directory_that_is_not_an_environment_is_left_alone(clone, tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    status, _, err = run(clone / "scripts/run", cwd=tmp_path, CHARLM_VENV=str(tmp_path))
    assert status == 1
    assert f"{tmp_path} is not a virtual environment; remove it, or name another directory in CHARLM_VENV" in err
    assert (tmp_path / "diary.txt").read_text() == "mine"


def path_with(directory, program):
    """PATH with `program` in the place of every Python."""
    (directory / "bin").mkdir()
    for name in ("python3.11", "python3", "python3.14", "python3.13", "python3.12", "python"):
        (directory / "bin" / name).write_text(f"#!/bin/sh\n{program}\n")
        (directory / "bin" / name).chmod(0o755)
    return f"{directory / 'bin'}{os.pathsep}{os.environ['PATH']}"


def test_oldest_pins_every_lower_bound_and_a_python_without_venv_says_what_to_install(clone, tmp_path):
    path = path_with(tmp_path, '[ "$1" = -c ]')
    status, _, err = run(clone / "scripts/test", "--oldest", cwd=tmp_path, PATH=path, CHARLM_VENV="new")
    assert status == 1
    assert f"python3.11 could not make {tmp_path}/new; on Debian and Ubuntu, run 'apt install python3-venv'" in err
    pins = dict(line.split("==") for line in (tmp_path / "new.txt").read_text().splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    for requirement in [each for each in needed if ">=" in each]:
        name, bound = requirement.split(">=")
        assert pins[name.partition("[")[0]] == bound.partition(",")[0]
