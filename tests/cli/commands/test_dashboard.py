"""`charlm dashboard` in a process of its own, asked as a browser would, and ended as a terminal does."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from charlm.cli.commands.dashboard import one_directory
from charlm.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")  # TensorBoard's

TIMES = 25


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs in lightning_logs of the working directory, the first with many pictures and texts."""
    monkeypatch.chdir(tmp_path)
    for run in ("version_0", "version_1"):
        with SummaryWriter(f"lightning_logs/{run}") as writer:
            writer.add_scalar("loss/val", 2.5, 9)
    with SummaryWriter("lightning_logs/version_0") as writer:
        for step in range(TIMES):
            writer.add_text("samples", "emma", step)
            writer.add_image("embedding_pca", np.zeros((1, 2, 2), dtype=np.uint8), step)
    return tmp_path / "lightning_logs"


@contextmanager
def started(*args, **env):
    """The process, with a folder of its own for temporary files, and what it printed up to the address."""
    Path("temporary").mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "charlm", "dashboard", *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a suite that a script runs in the background hands on that Ctrl-C is to be ignored
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "TMPDIR": "temporary", **env},
    ) as process:
        try:
            lines = [process.stdout.readline()]
            while lines[-1] and "http://" not in lines[-1]:
                lines.append(process.stdout.readline())
            yield process, "".join(lines)
        finally:
            if process.poll() is None:
                process.terminate()


def ask(out, path):
    address = re.search(r"http://\S+/", out)[0]
    with urllib.request.urlopen(f"{address}{path}", timeout=30) as answer:
        return answer.read().decode()


def data(out, path, done=bool):
    """What it has read of the files when `done` is true of it; it reads them in the background."""
    for _ in range(100):
        if done(found := json.loads(ask(out, f"data/{path}"))):
            break
        time.sleep(0.05)
    return found


def pinned(out):
    """The curves that the bare address leads to, unsmoothed, unless the address has what the user has chosen."""
    address = re.search(r"http://\S+/", out)[0]
    with urllib.request.urlopen(address) as answer:
        query = parse_qs(urlsplit(answer.url).query)
    with urllib.request.urlopen(f"{address}?smoothing=0.5") as answer:
        assert answer.url == f"{address}?smoothing=0.5"
    assert query["smoothing"] == ["0"]
    pins = json.loads(query["pinnedCards"][0])
    assert {pin["plugin"] for pin in pins} == {"scalars"}
    return [pin["tag"] for pin in pins]


def is_gone(group):
    """Whether no process of that group runs any more."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("runs")
def test_all_runs_of_lightning_logs_are_served_with_every_picture_and_text():
    with started() as (_, out):
        assert pinned(out) == ["loss/val", "loss_mean/train", "lr", "samples/new"]
        assert "<title>TensorBoard</title>" in ask(out, "")
        assert json.loads(ask(out, "data/environment"))["window_title"] == "charlm"
        assert data(out, "runs", lambda runs: len(runs) == 2) == ["version_0", "version_1"]
        of_run = "run=version_0&tag"
        pictures = data(out, f"plugin/images/images?{of_run}=embedding_pca&sample=0", lambda all: len(all) == TIMES)
        texts = data(out, f"plugin/text/text?{of_run}=samples/text_summary", lambda all: len(all) == TIMES)
    assert [picture["step"] for picture in pictures] == list(range(TIMES))
    assert [text["step"] for text in texts] == list(range(TIMES))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_without_a_word_and_leaves_nothing_behind(number, runs):
    with started("--port", "0", str(runs / "version_1")) as (process, out):
        assert re.fullmatch(r"TensorBoard  http://127\.0\.0\.1:\d+/  \(Ctrl-C ends it\)\n", out)
        assert data(out, "runs") == ["version_1"], "a single run has its name"
        assert list(Path("temporary").iterdir())
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)  # a terminal sends ^C to all
        rest, err = process.communicate(timeout=20)
        assert (process.returncode, rest, err) == (0, "\n", "")
        assert is_gone(process.pid)
    assert not list(Path("temporary").iterdir())
    assert sorted(path.name for path in runs.iterdir()) == ["version_0", "version_1"]


@pytest.mark.usefixtures("runs")
def test_two_at_once_take_the_port_and_the_next_free_one():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with started("--port", str(port)) as (_, first), started("--port", str(port)) as (_, second):
            taken = [int(re.search(r":(\d+)/", out)[1]) for out in (first, second)]
            for out, own in zip((first, second), taken, strict=True):
                assert out.startswith(f"Port {port} is taken; {own} is free.\nTensorBoard  http://127.0.0.1:{own}/ ")
                assert data(out, "runs") == ["version_0", "version_1"]
    assert len({port, *taken}) == 3


def test_an_empty_directory_is_served_with_a_note_and_opened_if_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lightning_logs").mkdir()
    Path("browser.py").write_text("import sys, pathlib; pathlib.Path('opened').write_text(sys.argv[1])")
    with started("--open", "--port", "0", BROWSER=f"{sys.executable} browser.py %s") as (_, out):
        note, address = out.splitlines()
        assert note == "There are no runs in it yet; they appear when the page is reloaded."
        assert data(out, "runs", lambda runs: runs == []) == []
        opened = Path("opened")
        for _ in range(100):
            if opened.is_file() and opened.read_text():
                break
            time.sleep(0.05)
        assert opened.read_text() in address
        assert opened.read_text().startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "lightning_logs is not a directory; train a run with `charlm fit`, or give a directory with runs"),
        ([".", "a"], "a is not a directory; train"),
        (["file"], "file is not a directory; train"),
        (["--port", "65536"], "--port is 65536; allowed: 0 to 65535"),
        (["--port", "-1"], "--port is -1; allowed: 0 to 65535"),
        (["--host", "192.0.2.1", "."], "TensorBoard cannot listen on 192.0.2.1, port 6006: Cannot assign requested"),
        (["--host", "nowhere.invalid", "."], "TensorBoard cannot listen on nowhere.invalid, port 6006: "),
    ],
)
def test_a_mistake_is_told_in_a_sentence(args, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(SystemExit) as stop:
        main(["dashboard", *args])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith(f"charlm: error: {told}")


def test_runs_of_several_places_have_their_ways_from_the_directory_that_holds_all(tmp_path):
    for run in ("a/lightning_logs/version_0", "b/lightning_logs/version_0", "b/lightning_logs/version_1"):
        (tmp_path / run).mkdir(parents=True)
        (tmp_path / run / "events.out.tfevents.1.host").touch()
    within = tmp_path / "b" / "lightning_logs" / "version_1"
    with one_directory([tmp_path / "a/lightning_logs/version_0", within.parent, within, within]) as folder:
        linked = {str(path.relative_to(folder)): path.resolve() for path in folder.rglob("*") if path.is_symlink()}
        assert linked == {
            "a/lightning_logs/version_0": tmp_path / "a/lightning_logs/version_0",
            "b/lightning_logs": within.parent,
        }
    assert not folder.exists()
    assert sorted(path.name for path in within.parent.iterdir()) == ["version_0", "version_1"]
    assert within.is_dir()
    with one_directory([within.parent]) as folder:
        assert folder == within.parent, "so that new runs appear"


def test_it_needs_no_torch(runs):
    code = f"""
import sys
from pathlib import Path
from charlm.cli.commands.dashboard import serve
serve(Path({str(runs)!r}), "127.0.0.1", 0)
print([name for name in ("torch", "lightning", "matplotlib") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
