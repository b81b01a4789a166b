"""`charlm dashboard`, asked as a browser would, and in a process of its own, ended as a terminal does."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from tensorboard import program
from torch.utils.tensorboard import SummaryWriter

from charlm.cli.commands.dashboard import PINNED, one_directory, serve
from charlm.cli.main import main

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
def started(*args):
    """The process, with a folder of its own for temporary files, and the line with the address."""
    Path("temporary").mkdir()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "charlm", "dashboard", *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a suite that a script runs in the background hands on that Ctrl-C is to be ignored
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "TMPDIR": "temporary"},
    ) as process:
        try:
            yield process, process.stdout.readline()
        finally:
            if process.poll() is None:
                process.terminate()


def ask(address, path=""):
    with urllib.request.urlopen(f"{address}{path}", timeout=30) as answer:
        return answer.url, answer.read().decode()


def data(address, path, done=bool):
    """What it has read of the files when `done` is true of it; it reads them in the background."""
    for _ in range(100):
        if done(found := json.loads(ask(address, f"data/{path}")[1])):
            break
        time.sleep(0.05)
    return found


def is_gone(group):
    """Whether no process of that group runs any more."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_shows_every_picture_and_text_ends_without_a_word_and_leaves_nothing_behind(number, runs):
    with started("--port", "0", str(runs / "version_0")) as (process, out):
        address = re.fullmatch(r"TensorBoard  (http://127\.0\.0\.1:\d+/)  \(Ctrl-C ends it\)\n", out)[1]
        assert data(address, "runs") == ["version_0"], "a single run has its name"
        for place in ("images/images?sample=0&tag=embedding_pca", "text/text?tag=samples/text_summary"):
            shown = data(address, f"plugin/{place}&run=version_0", lambda all: len(all) == TIMES)
            assert [each["step"] for each in shown] == list(range(TIMES))
        assert list(Path("temporary").iterdir())
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)  # a terminal sends ^C to all
        rest, err = process.communicate(timeout=20)
        assert (process.returncode, rest, err) == (0, "\n", "")
        assert is_gone(process.pid)
    assert not list(Path("temporary").iterdir())
    assert sorted(path.name for path in runs.iterdir()) == ["version_0", "version_1"]


@pytest.fixture
def once(monkeypatch):
    """Let TensorBoard read the files once, in this process; its data server and its thread would outlive the test."""
    configure = program.TensorBoard.configure
    options = ["--load_fast", "false", "--reload_interval", "0"]
    monkeypatch.setattr(program.TensorBoard, "configure", lambda board, argv: configure(board, [*argv, *options]))


@pytest.mark.usefixtures("once")
def test_the_bare_address_leads_to_unsmoothed_pinned_curves_and_others_to_what_the_user_chose(runs):
    address = serve(runs, "127.0.0.1", 0)
    assert data(address, "environment")["window_title"] == "charlm"
    goal = urlsplit(re.search(r'location.replace\("(.*?)"', ask(address)[1])[1])
    query = parse_qs(goal.query)
    assert json.loads(query["pinnedCards"][0]) == [{"plugin": "scalars", "tag": tag} for tag in PINNED]
    assert query["smoothing"] == ["0"]
    assert "<tb-webapp>" in ask(address, f"?{goal.query}")[1]


@pytest.mark.usefixtures("once")
def test_where_the_port_is_taken_the_next_free_one_serves(runs, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        address = serve(runs, "127.0.0.1", port)
    own = urlsplit(address).port
    assert own != port
    assert capsys.readouterr().out == f"Port {port} is taken; {own} is free.\n"
    assert set(data(address, "runs", lambda runs: len(runs) == 2)) == {"version_0", "version_1"}


@pytest.mark.usefixtures("once")
def test_an_empty_directory_is_served_with_a_note_and_opened_if_asked(tmp_path, monkeypatch, capsys):
    def look(address):
        opened.append(address)
        raise KeyboardInterrupt

    opened = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(webbrowser, "open", look)
    Path("lightning_logs").mkdir()
    main(["dashboard", "--open", "--port", "0"])
    note, address, *_ = capsys.readouterr().out.splitlines()
    assert note == "There are no runs in it yet; a new one appears within a minute."
    assert address.split()[1:2] == opened


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
