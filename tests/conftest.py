import contextlib
import importlib
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # a busy machine makes any example slow
settings.load_profile("untimed")


def pytest_sessionstart():
    """One thread, as charlm itself uses: two threads wait for each other in small steps on a busy machine."""
    torch.set_num_threads(1)


SLOW = (
    "dashboard",
    "scripts",
    "callbacks/test_lightning_names.py",
    "callbacks/exact_resume",
    "callbacks/lr_finder/test_transparency.py",
)
SLOW += ("cli/commands/test_export.py", "cli/test_resume.py", "cli/test_fit.py", "cli/test_start.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark slow tests, those that start processes among them, and put them first so that both workers end together."""
    slow = {Path(__file__).parent / name for name in SLOW}
    for item in items:
        if "server" in item.fixturenames or slow.intersection([item.path, *item.path.parents]):
            item.add_marker("slow")
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def course_list():
    """The course's own names.txt, where a folder beside the clone has it."""
    file = Path(__file__).parents[2] / "shared" / "names.txt"
    if not file.exists():
        pytest.skip("the course's names.txt is not part of the project")
    return file


@pytest.fixture(scope="session")
def alone():
    """Prepares a folder in which this process may call `main` as a command line."""

    def alone(patch, folder):
        """Hide this process's own arguments, and undo the environment variables that Lightning's seeding sets."""
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["charlm"])
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "0")
            patch.delenv(name)

    return alone


@pytest.fixture(scope="session")
def script():
    """Imports a file of scripts/; files in the same folder import each other by their bare names."""

    def script(name):
        with pytest.MonkeyPatch.context() as patch:
            scripts = Path(__file__).parents[1] / "scripts"
            for folder in (scripts, scripts / "bench", scripts / "reliability", scripts / "pictures"):
                patch.syspath_prepend(folder)
            return importlib.import_module(name)

    return script


@pytest.fixture
def trainer(tmp_path):
    """A quiet Trainer on the CPU."""

    def make(**options):
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
        quiet |= {"enable_model_summary": False, "log_every_n_steps": 1, "default_root_dir": tmp_path}
        return pl.Trainer(**(quiet | {"limit_val_batches": 0} | options))

    return make


# slow imports; nothing of charlm, because some tests run a copy of it
LIBRARIES = (
    *("lightning.pytorch.cli", "lightning.pytorch.demos.boring_classes", "torch._dynamo", "torch.utils.tensorboard"),
    *("matplotlib.figure", "PIL.Image"),
)


@pytest.fixture(scope="session")
def server():
    """Starts processes that have the libraries imported already, by fork where the system has it."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        multiprocessing.forkserver.ensure_running()
    return context


class Started:
    """A process with the interface of subprocess.Popen."""

    def __init__(self, process):
        self.process = process
        self.pid = process.pid

    @property
    def returncode(self):
        return self.process.exitcode

    def poll(self):
        return self.process.exitcode

    def send_signal(self, signum):
        os.kill(self.pid, signum)

    def wait(self, timeout=None):
        self.process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode


@pytest.fixture(scope="session")
def popen(server):
    """Starts [sys.executable, ...] like subprocess.Popen, with output to open files or nowhere, in its own session."""
    program = str(Path(__file__).with_name("started.py"))

    def popen(command, *, cwd, env, stdout, stderr, **_):
        given = {"arguments": [str(argument) for argument in command[1:]], "cwd": str(cwd), "env": dict(env)}
        given |= {"out": getattr(stdout, "name", os.devnull), "err": getattr(stderr, "name", os.devnull)}
        process = server.Process(target=runpy.run_path, args=(program, {"given": given}))
        process.start()
        with contextlib.suppress(ProcessLookupError):  # the process has ended already
            while sys.platform != "win32" and os.getpgid(process.pid) != process.pid:
                time.sleep(0.001)  # until it leads a process group, like a process that Popen starts in a session
        return Started(process)

    return popen


@pytest.fixture(scope="module")
def forking(script, popen):
    """Imports a file of scripts/ and has it start its processes with `popen`."""
    with pytest.MonkeyPatch.context() as patch:

        def forking(name):
            module = script(name)
            patch.setattr(module, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": popen}))
            return module

        yield forking


@pytest.fixture
def python(popen, tmp_path):
    """Runs [sys.executable, ...] in the test's folder to its end, like subprocess.run."""

    def python(*arguments, cwd=tmp_path, timeout=200, **environment):
        with tempfile.NamedTemporaryFile("a+") as out, tempfile.NamedTemporaryFile("a+") as err:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
            process = popen([sys.executable, *arguments], cwd=cwd, env=environment, stdout=out, stderr=err)
            try:
                process.wait(timeout)
            finally:
                process.process.kill()
            said = [file.seek(0) or file.read() for file in (out, err)]
        return subprocess.CompletedProcess(arguments, process.returncode, *said)

    return python
