"""What a search writes: its points, its numbers and its picture, in the run's directory and for the loggers."""

from charlm.callbacks.internals.lightning import Trainer
from charlm.callbacks.lr_finder.result import LRFinderResult
from charlm.callbacks.shared.logger_adapters import Failed, run_directory, tell, write_file
from charlm.callbacks.shared.progress import logged_step
from charlm.callbacks.shared.send_figure import publish


def write_result(trainer: Trainer, result: LRFinderResult, name: str) -> str:
    """Write `name`.csv, .json and .png, and return their directory; all processes take part, the first one writes."""
    directory = run_directory(trainer)
    if not trainer.is_global_zero:
        return directory
    failed: Failed = {}
    for kind, text in (("csv", result.to_csv()), ("json", result.to_json())):
        failed |= write_file(trainer, directory, f"{name}.{kind}", text.encode())
    try:
        failed |= publish(trainer, result.figure(), name, logged_step(trainer), directory)
    except Exception as error:  # a picture that fails must not end the training
        failed["drawing the picture"] = error
    tell("LRFinder", failed, set())
    return directory
