"""`charlm dashboard`: TensorBoard on the runs, set up to keep what they show."""

import errno
import io
import json
import os
import signal
import socket
import sys
import tempfile
import time
import webbrowser
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tensorboard import program

from charlm.runs.events import find_event_runs

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

EVENTS = "events.out.tfevents.*"
SAMPLES = "images=1000,text=1000"
"""By itself TensorBoard keeps ten of a run's pictures and texts, drawn by lot. Its "0: all" shows none of them."""
PINNED = ("loss/val", "loss_mean/train", "lr", "samples/new")
"""Curves that stand first on the page, which else begins with `accuracy`, as the groups go by the alphabet."""
_PORTS = 20
_ADVICE = "NOTE: Using experimental fast data loading logic."  # as TensorBoard has done by default since 2021
_boards: list["program.TensorBoard"] = []  # kept, as on Windows the process that reads the files ends with its object


def dashboard(runs: list[str] | None = None, host: str = "127.0.0.1", port: int = 6006, open: bool = False) -> None:
    """Show runs in TensorBoard, until Ctrl-C: losses, learning rates, pictures, names, hyperparameters.

    Args:
        runs: a directory of runs, or some run directories, to see only those; by default lightning_logs.
        host: the address to listen on; 0.0.0.0 lets other machines look, too.
        port: the port to listen on, 0 for any; if it is taken, a free one that follows.
        open: open the page in the browser.

    Raises:
        OSError: no such directory.
        ValueError: an address or a port that cannot be listened on.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f"--port is {port}; allowed: 0 to {2**16 - 1}")
    places = [Path(run) for run in runs or ["lightning_logs"]]
    for place in places:
        if not place.is_dir():
            raise FileNotFoundError(
                f"{place} is not a directory; train a run with `charlm fit`, or give a directory with runs"
            )
    with suppress(KeyboardInterrupt), terminated_like_interrupted(), one_directory(places) as logdir:
        url = serve(logdir, host, port)
        if not any(map(find_event_runs, places)):
            print("There are no runs in it yet; they appear when the page is reloaded.")
        print(f"TensorBoard  {url}  (Ctrl-C ends it)", flush=True)
        if open:
            webbrowser.open(url)
        while True:  # in turns, since Windows hands over a Ctrl-C only between two
            time.sleep(1)
    print()  # the prompt goes below the terminal's ^C


def serve(logdir: Path, host: str, port: int) -> str:
    """Start TensorBoard in threads of this process.

    Args:
        logdir: a directory with runs below it.
        host: the address to listen on.
        port: the port; 0: any.

    Returns:
        The address of the page.

    Raises:
        ValueError: it cannot listen there.
    """
    is_free(host, port)  # an address that is not this machine's is told before anything is started
    board = program.TensorBoard(server_class=on_free_port)
    options = ["--logdir", str(logdir), "--host", host, "--port", str(port), "--samples_per_plugin", SAMPLES]
    board.configure(argv=[None, *options, "--window_title", "charlm"])
    _boards.append(board)
    noise = io.StringIO()
    with redirect_stderr(noise):
        url: str = board.launch()
    if _ADVICE not in noise.getvalue():
        sys.stderr.write(noise.getvalue())
    return url


def on_free_port(app: "WSGIApplication", flags: Namespace) -> "program.WerkzeugServer":
    """TensorBoard's server on the port asked for, or on the next one that is free.

    Args:
        app: TensorBoard's application.
        flags: its options.

    Raises:
        ValueError: it cannot listen there.
    """
    for port in (*range(flags.port, min(flags.port + _PORTS, 2**16)), 0):
        # where another program was faster after all, one of them is raised by TensorBoard, the other by its server
        with suppress(program.TensorBoardPortInUseError, SystemExit):
            if is_free(flags.host, port):
                server = program.WerkzeugServer(with_pins(app), Namespace(**{**vars(flags), "port": port}))
                if flags.port not in (0, port):
                    print(f"Port {flags.port} is taken; {server.server_port} is free.")
                return server
    raise ValueError(f"no port from {flags.port} on is free; end what listens there, or give another --port")


def with_pins(app: "WSGIApplication") -> "WSGIApplication":
    """Lead the bare address to the page with the pinned curves, each drawn as it was measured, without smoothing.

    Args:
        app: TensorBoard's application.
    """
    pins = [{"plugin": "scalars", "tag": tag} for tag in PINNED]
    page = "/?" + urlencode({"pinnedCards": json.dumps(pins, separators=(",", ":")), "smoothing": 0})

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/" and not environ.get("QUERY_STRING"):
            start_response("302 Found", [("Location", page), ("Content-Length", "0")])
            return []
        return app(environ, start_response)

    return application


def is_free(host: str, port: int) -> bool:
    """Whether no program listens there.

    Raises:
        ValueError: this program cannot, for another reason.
    """
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        reason = str(error.strerror).partition(" (")[0]  # behind it stands the address once more
        raise ValueError(
            f"TensorBoard cannot listen on {host}, port {port}: {reason};"
            " give an address of this machine as --host, and a --port from 1024 on"
        ) from None
    return True


@contextmanager
def one_directory(places: Sequence[Path]) -> Iterator[Path]:
    """The directory that TensorBoard is to look at.

    One that holds runs is taken as it is. Several, or single runs, are linked into a directory of their own, by their
    paths from the lowest directory that holds all of them: TensorBoard takes one, and calls a run that is it ".".
    """
    if len(places) == 1 and not any(places[0].glob(EVENTS)):
        yield places[0]
        return
    every = {place.resolve(): None for place in places}
    found = [place for place in every if not any(above in every for above in place.parents)]
    above = Path(os.path.commonpath([place.parent for place in found]))
    with tempfile.TemporaryDirectory(prefix="charlm-dashboard-") as folder:
        for place in found:
            link = Path(folder) / place.relative_to(above)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(place, target_is_directory=True)
        yield Path(folder)


@contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM end what runs here as Ctrl-C does, so that nothing is left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
