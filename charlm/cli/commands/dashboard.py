"""`charlm dashboard`: TensorBoard on the runs, set up to show all of their pictures and texts."""

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
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tensorboard import program
from werkzeug import Response

from charlm.runs.events import find_event_runs
from charlm.runs.naming import RUNS, place_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

EVENTS = "events.out.tfevents.*"
SAMPLES = "images=1000,text=1000"
"""By default TensorBoard shows ten pictures and texts of a run, chosen at random; 0 would show none."""
PINNED = ("loss/val", "loss_mean/train", "lr", "samples/new")
"""Curves at the top of the page, whose groups are in alphabetical order and would begin with `accuracy`."""
ON_EVERY_PAGE = {"_smoothingWeight": 0, "tagFilter": "loss|lr|samples|compare|verdict|note"}
"""What all pages but Time Series read from the address: no smoothing, and the tags that come first."""
SETTINGS = ("model", "model.lr", "step_decay.milestones", "data.path", "trainer.max_steps")
METRICS = ("best/val", "best/step", "loss_mean/train", "loss/val", "samples/new", "summary/seconds", "loss/test")
"""The first columns of HParams, which would sort them by name, and shows five of each when it opens."""
_COLUMNS = "/hparams/experiment"
_PROJECTOR = "/projector_binary.js"
_IN_3D, _IN_2D = b"this.pcaIs3d=!0", b"this.pcaIs3d=!1"
_PORTS = 20
_START_PAGE = """<!doctype html><title>charlm</title><script>
const usual = {autoReload: true, ignoreOutliers: false, timeSeriesSettingsPaneOpened: false};
const chosen = JSON.parse(localStorage.getItem("_tb_global_settings") || "{}");
localStorage.setItem("_tb_global_settings", JSON.stringify({...usual, ...chosen}));
if (localStorage.getItem("_ignoreYOutliers") === null) localStorage.setItem("_ignoreYOutliers", "false");
location.replace("/?QUERY#HASH&" + (location.hash.slice(1) || "timeseries"));
</script>
"""
_ADVICE = "NOTE: Using experimental fast data loading logic."  # as TensorBoard has done by default since 2021
_boards: list["program.TensorBoard"] = []  # on Windows the process that reads the files ends when its object does


def dashboard(runs: list[str] | None = None, host: str = "127.0.0.1", port: int = 6006, open: bool = False) -> None:
    """Show runs in TensorBoard, until Ctrl-C: losses, learning rates, pictures, names, hyperparameters.

    The pages reload by themselves every 30 seconds, unless you switch that off in TensorBoard's settings.

    Args:
        runs: a directory of runs, or runs by directory, name or number, to show only these; by default lightning_logs.
        host: the address to listen on; 0.0.0.0 lets other machines connect.
        port: the port to listen on, 0 for any free one; if it is taken, one of the next 20 that is free.
        open: open the page in the browser.

    Raises:
        OSError: no such directory.
        ValueError: an address or a port on which TensorBoard cannot listen.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f"--port is {port}; allowed: 0 to {2**16 - 1}")
    places = list(map(place_of, runs or [RUNS]))
    for place in places:
        if not place.is_dir():
            raise FileNotFoundError(
                f"{place} is not a directory; train a run with `charlm fit`, or give a directory with runs"
            )
    with suppress(KeyboardInterrupt), terminated_like_interrupted(), one_directory(places) as logdir:
        url = serve(logdir, host, port)
        if not any(map(find_event_runs, places)):
            print("There are no runs in it yet; a new one appears within a minute.")
        print(f"TensorBoard  {url}  (Ctrl-C ends it)", flush=True)
        if open:
            webbrowser.open(url)
        while True:  # in steps, since Windows delivers Ctrl-C only between them
            time.sleep(1)
    print()  # the terminal's ^C gets a line of its own


def serve(logdir: Path, host: str, port: int) -> str:
    """Start TensorBoard in threads of this process, and return the address of its page.

    Raises:
        ValueError: TensorBoard cannot listen there.
    """
    is_free(host, port)  # a wrong address is an error before anything starts
    board = program.TensorBoard(server_class=on_free_port)
    options = ["--logdir", str(logdir), "--host", host, "--port", str(port), "--samples_per_plugin", SAMPLES]
    board.configure(argv=[None, *options, "--window_title", "charlm"])
    _boards.append(board)
    noise = io.StringIO()
    with redirect_stderr(noise):
        url: str = board.launch()
    if _ADVICE not in noise.getvalue():
        print(noise.getvalue(), end="", file=sys.stderr)
    return url


def on_free_port(app: "WSGIApplication", flags: Namespace) -> "program.WerkzeugServer":
    """TensorBoard's server on the port asked for, or on the next one that is free.

    Raises:
        ValueError: TensorBoard cannot listen there.
    """
    for port in (*range(flags.port, min(flags.port + _PORTS, 2**16)), 0):
        # if another program takes the port meanwhile, TensorBoard or its server raises one of these
        with suppress(program.TensorBoardPortInUseError, SystemExit):
            if is_free(flags.host, port):
                server = program.WerkzeugServer(with_start_page(app), Namespace(**{**vars(flags), "port": port}))
                if flags.port not in (0, port):
                    print(f"Port {flags.port} is taken; {server.server_port} is free.")
                return server
    raise ValueError(f"no port from {flags.port} on is free; end what listens there, or give another --port")


def with_start_page(app: "WSGIApplication") -> "WSGIApplication":
    """Serve a page at the bare address that sets TensorBoard up and then opens it.

    The curves of `PINNED` come first and have the whole width, no page smooths a curve or cuts off its outliers, and
    the pages reload by themselves every 30 seconds. HParams has its columns in the order of use. The projector begins
    in two dimensions, where it does not turn; it can be told so neither by its address nor by its files. What the user
    has changed in TensorBoard's settings stays.
    """
    pins = [{"plugin": "scalars", "tag": tag} for tag in PINNED]
    query = urlencode({"pinnedCards": json.dumps(pins, separators=(",", ":")), "smoothing": 0})
    page = _START_PAGE.replace("QUERY", query).replace("HASH", urlencode(ON_EVERY_PAGE)).encode()

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/" and not environ.get("QUERY_STRING"):
            start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(page)))])
            return [page]
        if environ["PATH_INFO"].endswith(_PROJECTOR):
            environ.pop("HTTP_ACCEPT_ENCODING", None)  # not compressed
            return [part.replace(_IN_3D, _IN_2D) for part in app(environ, start_response)]
        if environ["PATH_INFO"].endswith(_COLUMNS):
            environ.pop("HTTP_ACCEPT_ENCODING", None)
            answer = Response.from_app(app, environ, buffered=True)
            if answer.status_code == HTTPStatus.OK:
                answer.set_data(in_order_of_use(answer.get_data()))
            return answer(environ, start_response)
        return app(environ, start_response)

    return application


def in_order_of_use(columns: bytes) -> bytes:
    """Order the columns of HParams: settings that differ between runs first, and among them those that matter most."""
    found = json.loads(columns)
    ranks = {name: rank for rank, name in enumerate((*SETTINGS, *METRICS))}
    for setting in (settings := found.get("hparamInfos", [])):
        setting["differs"] = setting.get("differs", False)
    settings.sort(key=lambda setting: (not setting["differs"], ranks.get(setting["name"], len(ranks))))
    found.get("metricInfos", []).sort(key=lambda metric: ranks.get(metric["name"]["tag"], len(ranks)))
    return json.dumps(found).encode()


def is_free(host: str, port: int) -> bool:
    """Whether the port is free.

    Raises:
        ValueError: this program cannot listen there for another reason.
    """
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        reason = str(error.strerror).partition(" (")[0]  # the rest is the address again
        raise ValueError(
            f"TensorBoard cannot listen on {host}, port {port}: {reason};"
            " give an address of this machine as --host, and a --port from 1024 on"
        ) from None
    return True


@contextmanager
def one_directory(places: Sequence[Path]) -> Iterator[Path]:
    """One directory with all runs, since TensorBoard takes only one, and calls a run that it is given ".".

    A directory that holds runs is given as it is. Several directories, or single runs, are linked into a temporary
    one, by their paths below their common parent.
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
    """Let SIGTERM end the block as Ctrl-C does, so that temporary files are removed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
