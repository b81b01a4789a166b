"""The command `charlm`: which part of the package answers, and how its errors reach the user. Wiring only.

Only `fit`, `validate`, `test`, `predict` and `lr-find` import Lightning; all else starts in the time that torch takes.
"""

import io
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from charlm import __version__
from charlm.cli.subcommands import COMMANDS, TRAINER_COMMANDS

USAGE = "charlm [-h] [--version] [--print_completion=shtab-bash|shtab-zsh] COMMAND ..."


def main(args: list[str] | None = None) -> None:
    """Run `charlm ARGS...`; a user's mistake is one or two sentences on standard error and exit status 2.

    The status is 4 where the loss of a training is no number any more, 130 or 143 where a signal has stopped it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or pipe that cannot take a letter gets its escape
            stream.reconfigure(errors="backslashreplace")
    with short_errors("charlm"):
        try:
            run(sys.argv[1:] if args is None else args)
        except BrokenPipeError:  # `charlm sample | head`: the reader has what it wanted
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt:  # Ctrl-C needs no traceback; the status is the shells' for it
            raise SystemExit(130) from None


@contextmanager
def short_errors(program: str) -> Iterator[None]:
    """Tell a user's mistake in a sentence or two, after the name of the program, and exit with status 2."""
    try:
        yield
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        sys.stderr.write(f"{program}: error: {message}\n")
        raise SystemExit(getattr(error, "exit_status", 2)) from None


def run(args: list[str]) -> None:
    """Hand `args` to the part that answers them."""
    if not args or args[0] in ("-h", "--help"):
        print(help_text())
    elif args[0] == "--version":
        print(f"charlm {__version__}")
    elif args[0] in COMMANDS:
        import_module("charlm.cli.command_parser").run_command(args[0], args[1:])
    else:
        import_module("charlm.cli.trainer.lightning_cli").run_trainer(args)


def help_text() -> str:
    """What `charlm --help` prints."""
    lines = [f"usage: {USAGE}", "", "Character-level language models of names.", "", "commands:"]
    lines += [f"  {name:<16}{text}" for name, text in {**TRAINER_COMMANDS, **COMMANDS}.items()]
    lines += [
        "",
        "`charlm COMMAND --help` says more; `charlm fit` alone trains the MLP on the names that come with charlm.",
    ]
    return "\n".join(lines)


def message_of(error: BaseException) -> str | None:
    """What to tell the user: an error raised by this package, or by Lightning's own checks, to say what to change.

    So are those of the operating system about a file, and Lightning's about a package that an option needs. Any other
    exception is a defect, and keeps its traceback: None.
    """
    while origin(error).parent.name == "jsonargparse" and error.__cause__ is not None:
        error = error.__cause__  # why it could not make an object
    raised, place = is_raised(error), origin(error)
    told = isinstance(error, ValueError | OSError) or hasattr(error, "exit_status")
    own = raised and told and place.is_relative_to(Path(__file__).parents[1])
    of_file = isinstance(error, OSError) and error.filename is not None
    of_package = isinstance(error, ModuleNotFoundError) and error.name is None  # written by hand, not by `import`
    checked = type(error).__name__ == "MisconfigurationException" or (
        raised and isinstance(error, ValueError) and "lightning" in place.parts
    )
    return str(error).strip() if own or of_file or of_package or checked else None


def origin(error: BaseException) -> Path:
    """The file that raised `error`."""
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename)


def is_raised(error: BaseException) -> bool:
    """Whether a `raise` of Python code made it; what numpy or torch throw from inside an expression has none."""
    return (traceback.extract_tb(error.__traceback__)[-1].line or "").startswith("raise")
