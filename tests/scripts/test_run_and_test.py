"""scripts/run and scripts/test in a clone of their own, with pip for real and without the network.

The clone's package is a small one that reports how it was called. What it depends on is found in the environment that
runs these tests, by way of PYTHONPATH, so pip has nothing to fetch.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = os.pathsep.join(p for p in sys.path if p.endswith(("site-packages", "dist-packages")))
OFFLINE = {
    "PYTHONPATH": PACKAGES,
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "",
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_NO_BUILD_ISOLATION": "0",  # pip reads a variable as the value of build_isolation: 0 switches isolation off
}
SCRIPTS = ("scripts/run", "scripts/test", "scripts/setup.sh", ".ci/run")
CLI = '''"""Reports how the command was called."""

import json
import os
import sys


def main() -> None:
    """Print the arguments and the current directory."""
    print(json.dumps({"arguments": sys.argv[1:], "directory": os.getcwd()}))
'''
TEST = """def test_of_the_clone(request):
    print("directory:", request.config.invocation_params.dir)
"""


def clone_into(directory):
    """What git holds of the packaging, with a small package and a small suite in place of the real ones."""
    for name in (
        "pyproject.toml",
        "constraints.txt",
        "LICENSE",
        "scripts/run",
        "scripts/test",
        "scripts/setup.sh",
        ".ci/run",
    ):
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    (directory / "README.md").write_text("# clone\n")
    for name, text in {
        "charlm/__init__.py": '"""A stand-in."""\n\n__version__ = "0.1.0"\n',
        "charlm/cli.py": CLI,
        "scripts/bench/bench.py": '"""A stand-in."""\n',
        "tests/test_clone.py": TEST,
    }.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    return directory


def start(script, *arguments, cwd, **env):
    inherited = {k: v for k, v in os.environ.items() if k not in ("CHARLM_VENV", "CDPATH", "PYTEST_ADDOPTS")}
    return subprocess.Popen(
        [script, *arguments],
        cwd=cwd,
        env=inherited | OFFLINE | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


def run(script, *arguments, cwd, **env):
    return finish(start(script, *arguments, cwd=cwd, **env))


def installed_at(environment):
    """When the package was installed, in nanoseconds."""
    return next(environment.glob("lib/python*/site-packages/charlm-*.dist-info")).stat().st_mtime_ns


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return clone_into(tmp_path_factory.mktemp("a clone") / "with spaces")


@pytest.fixture(scope="module")
def first_runs(clone, tmp_path_factory):
    """A set-up that breaks off since torch cannot be had, then two at once that find all they need."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    broken = run(clone / "scripts/run", cwd=elsewhere, PYTHONPATH="")
    both = [start(clone / "scripts/run", "--data.path", "names.txt", cwd=elsewhere) for _ in range(2)]
    return elsewhere, broken, [finish(process) for process in both]


@pytest.mark.parametrize("name", ["scripts/run", "scripts/test", ".ci/run"])
def test_the_scripts_can_be_called(name):
    assert (ROOT / name).stat().st_mode & stat.S_IXUSR


def test_a_set_up_that_breaks_off_says_so_and_trains_nothing(first_runs):
    _, (status, out, err), _ = first_runs
    assert status == 1
    assert out == ""
    assert "torch==2.13.0" in err
    assert err.splitlines()[-1].startswith("scripts/run: pip stopped for the reason above (without a network")


def test_two_set_ups_at_once_finish_the_broken_one_together(first_runs):
    _, _, both = first_runs
    assert [status for status, _, _ in both] == [0, 0], both
    assert sorted("Installing the pinned packages" in err for _, _, err in both) == [False, True]


def test_run_fits_into_the_repository_from_any_directory(clone, first_runs):
    elsewhere, _, both = first_runs
    for _, out, _ in both:
        call = json.loads(out)
        assert call["arguments"] == ["fit", "--trainer.default_root_dir", str(clone), "--data.path", "names.txt"]
        assert call["directory"] == str(elsewhere)


@pytest.mark.usefixtures("first_runs")
def test_a_second_run_installs_nothing(clone, tmp_path):
    before = installed_at(clone / ".venv")
    status, out, err = run(clone / "scripts/run", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert json.loads(out)["arguments"][0] == "fit"
    assert installed_at(clone / ".venv") == before


@pytest.mark.usefixtures("first_runs")
def test_changed_pins_are_installed_and_serve_run_and_test(clone, tmp_path):
    with (clone / "constraints.txt").open("a") as pins:
        pins.write("# a newer set\n")
    before = installed_at(clone / ".venv")
    status, out, err = run(clone / "scripts/test", cwd=tmp_path)
    assert status == 0, out + err
    assert "Installing the pinned packages" in err
    assert "1 passed" in out
    assert installed_at(clone / ".venv") > before
    assert run(clone / "scripts/run", cwd=tmp_path)[2] == ""


@pytest.mark.usefixtures("first_runs")
def test_test_hands_its_arguments_to_pytest_in_the_root(clone, tmp_path):
    status, out, err = run(clone / "scripts/test", "tests/test_clone.py", "-s", cwd=tmp_path)
    assert status == 0, out + err
    assert f"directory: {clone}" in out
    assert [line for line in err.splitlines() if line.startswith("==")] == [
        "== ruff check",
        "== ruff format",
        "== mypy",
        "== pytest",
    ]


@pytest.mark.usefixtures("first_runs")
@pytest.mark.parametrize(
    ("file", "text", "step", "status"),
    [
        ("charlm/bad.py", '"""Bad."""\n\nimport os\n', "ruff check", 1),
        ("charlm/bad.py", '"""Bad."""\n\nx = [ 1 ]\n', "ruff format", 1),
        ("charlm/bad.py", '"""Bad."""\n\nx: int = "one"\n', "mypy", 1),
        ("tests/test_bad.py", "def test_bad():\n    assert False, 'bad'\n", "pytest", 1),
    ],
)
def test_test_stops_at_the_first_step_that_fails_and_names_it(clone, tmp_path, file, text, step, status):
    bad = clone / file
    bad.write_text(text.replace("assert False, 'bad'", 'assert [] == ["bad"]'))
    try:
        got, _, err = run(clone / "scripts/test", cwd=tmp_path)
    finally:
        bad.unlink()
    assert got == status
    assert err.splitlines()[-1] == f"scripts/test: {step} failed (exit status {status})"
    assert [line for line in err.splitlines() if line.startswith("==")][-1] == f"== {step}"


def test_another_environment_can_be_named(clone, first_runs, tmp_path):
    """CHARLM_VENV, relative to where the caller stands."""
    assert first_runs
    status, _, err = run(clone / "scripts/run", cwd=tmp_path, CHARLM_VENV="envs/mine")
    assert status == 0, err
    assert f"into {tmp_path}/envs/mine" in err
    assert run(clone / "scripts/run", cwd=tmp_path, CHARLM_VENV="envs/mine")[2] == ""


def test_a_directory_that_is_no_environment_is_left_alone(clone, tmp_path):
    (tmp_path / "diary.txt").write_text("mine")
    status, _, err = run(clone / "scripts/run", cwd=tmp_path, CHARLM_VENV=str(tmp_path))
    assert status == 1
    assert err == (
        f"scripts/run: {tmp_path} is no virtual environment; remove it, or name another directory in CHARLM_VENV\n"
    )
    assert (tmp_path / "diary.txt").read_text() == "mine"


def path_with(directory, program):
    """PATH with `program` in the place of every Python."""
    for name in ("python3.11", "python3", "python3.14", "python3.13", "python3.12", "python"):
        file = directory / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{program}\n")
        file.chmod(0o755)
    return f"{directory / 'bin'}{os.pathsep}{os.environ['PATH']}"


def test_a_python_that_is_too_old_is_named(clone, tmp_path):
    path = path_with(tmp_path, '[ "$1" = --version ] && echo Python 3.9.2 && exit; exit 1')
    status, _, err = run(clone / "scripts/run", cwd=tmp_path, PATH=path, CHARLM_VENV="new")
    assert status == 1
    assert err == (
        "scripts/run: charlm needs Python 3.11 or newer, and the PATH offers Python 3.9.2; install Python 3.11 first\n"
    )


def test_a_python_without_venv_says_what_to_install(clone, tmp_path):
    path = path_with(tmp_path, '[ "$1" = -c ]')
    status, _, err = run(clone / "scripts/run", cwd=tmp_path, PATH=path, CHARLM_VENV="new")
    assert status == 1
    assert err.splitlines()[-1] == (
        f"scripts/run: python3.11 could not make {tmp_path}/new; on Debian and Ubuntu, 'apt install python3-venv' first"
    )
