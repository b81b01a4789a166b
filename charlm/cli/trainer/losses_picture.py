"""The loss curves of a training that has ended, as a picture in its run and in TensorBoard."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from charlm.callbacks.shared.logger_adapters import attempt, tell
from charlm.callbacks.shared.render import add_picture_file, png, render
from charlm.callbacks.shared.whole_file import replacing
from charlm.cli.commands.plot import picture_of


def log_losses(run: Path, step: int) -> None:
    """Draw losses.png, where train and val differ in colour; TensorBoard's charts have one colour for each run.

    Args:
        run: the directory of a run with a TensorBoard log.
        step: the last one, as TensorBoard counts it.
    """

    def draw() -> None:
        picture = png(render(picture_of([run])))
        with replacing(run / "losses.png") as stream:
            stream.write(picture)
        with SummaryWriter(str(run)) as writer:
            add_picture_file(writer.file_writer, picture, "losses", step)

    tell("charlm fit", attempt("drawing the losses", draw), set())
