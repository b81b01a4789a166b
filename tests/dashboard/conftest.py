"""Three real runs of `charlm fit` and a TensorBoard that has read them."""

import json
import urllib.request
import warnings

import lightning.pytorch  # noqa: F401  # its log handlers are made on import, and are not to hold a test's stderr
import pytest
from tensorboard import program

from charlm.cli.commands.dashboard import SAMPLES, on_free_port
from charlm.cli.main import main
from charlm.data.corpus import read_corpus

SHORT = ["--name", "run", "--trainer.log_every_n_steps", "1", "--trainer.enable_progress_bar", "false"]
STEPS = ["--trainer.max_steps", "40", "--trainer.val_check_interval", "10"]
EPOCHS = ["--trainer.max_epochs", "8", "--trainer.check_val_every_n_epoch", "2"]  # of one batch each


@pytest.fixture(scope="session")
def runs(tmp_path_factory, alone):
    """lightning_logs with an MLP that was tested afterwards, a bigram, and an MLP of another size and rate."""
    folder = tmp_path_factory.mktemp("runs")
    names = folder / "names.txt"
    names.write_text("\n".join([*sorted(set(read_corpus().names()))[::12], "xenia"]) + "\n")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        alone(patch, folder)
        warnings.simplefilter("ignore")
        main(["fit", "--config", "mlp", *SHORT, *STEPS, "--data", str(names)])
        main(["fit", "--config", "bigram", *SHORT, *EPOCHS, "--data", str(names)])
        small = ["--model.n_hidden", "20", "--model.lr", "0.05"]
        main(["fit", "--config", "mlp", *SHORT, *STEPS, *small, "--data", str(names)])
        main(["test", "--ckpt_path", "lightning_logs/001-run"])
    return folder / "lightning_logs"


@pytest.fixture(scope="session")
def serve():
    """Begin a TensorBoard as `charlm dashboard` would, but one that has read the runs before it answers."""

    def serve(runs):
        board = program.TensorBoard(server_class=on_free_port)
        options = {"logdir": runs, "host": "127.0.0.1", "port": 0, "samples_per_plugin": SAMPLES}
        at_once = {"load_fast": "false", "reload_task": "blocking", "reload_interval": 0}
        words = [str(word) for name, value in {**options, **at_once}.items() for word in (f"--{name}", value)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of what TensorBoard brings along
            board.configure(argv=[None, *words])
            return board.launch()

    return serve


@pytest.fixture(scope="session")
def address(runs, serve):
    """Where the runs are shown."""
    return serve(runs)


@pytest.fixture(scope="session")
def ask(address):
    """Ask for the JSON at a path below /data/plugin, or what `read` makes of it; with a body, by POST."""

    def ask(path, body=None, read=json.load):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{address}data/plugin/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return read(answer)

    return ask
