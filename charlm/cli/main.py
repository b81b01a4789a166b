"""The command `charlm`: it picks the part of the package that answers, and shows errors to the user.

Only `fit`, `validate`, `test`, `predict` and `lr-find` import Lightning, so all other commands start sooner.
"""

import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from charlm import __version__
from charlm.cli.fast_cpu import fast_products, keep_freed_memory
from charlm.cli.subcommands import COMMANDS, TRAINER_COMMANDS
from charlm.cli.terminal_text import visible_output
from charlm.cli.without_gc import without_gc
from charlm.messages import visible

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_SAYS_SO = ("early_stopping.py", "slurm.py")  # files of Lightning whose RuntimeErrors are for the user
USAGE = "charlm [-h] [--version] [--print_completion=shtab-bash|shtab-zsh] COMMAND"


def main(args: list[str] | None = None) -> None:
    """Run `charlm ARGS...`.

    A user's mistake gives one or two sentences on standard error and exit status 2. The status is 4 if the loss became
    NaN or infinite, or stayed above that of guessing, and 129, 130 or 143 if a signal stopped the command.
    """
    for name in ("stdout", "stderr"):  # closed by the caller, or there is none, as under pythonw
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # to the end of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal or pipe that cannot show a letter gets its escape
            stream.reconfigure(errors="backslashreplace")
    if args is None and {*sys.argv[1:2]} & TRAINER_COMMANDS.keys():  # a process of its own
        keep_freed_memory()
    with short_errors("charlm"):
        try:
            run(sys.argv[1:] if args is None else args)
            sys.stdout.flush()  # here, where an error is explained
        except BrokenPipeError:  # `charlm sample | head` has read enough
            _drop_output()
        except OSError as error:
            if error.errno in _CANNOT_WRITE:
                _drop_output()
            raise
        except KeyboardInterrupt:  # no traceback for Ctrl-C; shells expect this status
            raise SystemExit(130) from None


def _drop_output() -> None:
    """Discard what is left to print, so that Python ends without an error."""
    with suppress(OSError, AttributeError):
        sys.stdout.flush()
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def short_errors(program: str) -> Iterator[None]:
    """Print a user's mistake as one or two sentences after the name of the program, and exit with status 2."""
    try:
        yield
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        print(f"{program}: error: {visible(message)}", file=sys.stderr)
        raise SystemExit(getattr(error, "exit_status", 2)) from None


def run(args: list[str]) -> None:
    """Hand `args` to the part of the package that answers them."""
    if not args or args[0] in ("-h", "--help"):
        print(help_text())
        return
    if args[0] == "--version":
        print(f"charlm {__version__}")
        return
    try:
        Path.cwd()
    except FileNotFoundError:
        raise FileNotFoundError("the directory you are in was deleted; change to another one (cd)") from None
    if args[0] in COMMANDS:
        with visible_output():
            import_module("charlm.cli.command_parser").run_command(args[0], args[1:])
    else:
        with starting("charlm" if args[0].startswith("-") else f"charlm {args[0]}"), without_gc():
            run_trainer = import_module("charlm.cli.trainer.lightning_cli").run_trainer
        with fast_products():
            run_trainer(args)


@contextmanager
def starting(program: str) -> Iterator[None]:
    """For imports that take seconds: say so on a terminal, and let Ctrl-C end the process at once."""
    before = signal.getsignal(signal.SIGINT)
    ends = before is signal.default_int_handler and threading.current_thread() is threading.main_thread()
    if ends:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.environ.get("LOCAL_RANK", "0") == "0" and sys.stderr.isatty():
        print(f"{program}: loading PyTorch and Lightning ...", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if ends:
            signal.signal(signal.SIGINT, before)


def help_text() -> str:
    """What `charlm --help` prints."""
    lines = [f"usage: {USAGE}", "", "Character-level language models of names.", "", "commands:"]
    lines += [f"  {name:<16}{text}" for name, text in {**TRAINER_COMMANDS, **COMMANDS}.items()]
    lines += [
        "",
        "`charlm COMMAND --help` says more. `charlm fit` by itself trains the MLP on the",
        "names that come with charlm.",
    ]
    return "\n".join(lines)


def message_of(error: BaseException) -> str | None:
    """What to tell the user; None for a defect, which keeps its traceback.

    An error is for the user if charlm or Lightning's own checks raise it, if the operating system raises it about a
    file, if it names a package that an option needs, or if a package refuses to make an object that an option asks for.
    """
    if isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error):
        return "not enough memory; make the model, the batch or the file smaller"
    if str(error).startswith("Key backend:"):  # from the import of matplotlib
        return f"the environment has MPLBACKEND={os.environ.get('MPLBACKEND')}, which matplotlib refuses; unset it"
    is_making = origin(error).parent.name == "jsonargparse"
    while origin(error).parent.name == "jsonargparse" and error.__cause__ is not None:
        error = error.__cause__  # why jsonargparse could not make an object
    raised, place = is_raised(error), origin(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot use {error.filename2 or error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        return f"cannot write everything: {error.strerror}; make room, or write to another place"
    ours = isinstance(error, ValueError | OSError) or hasattr(error, "exit_status")
    by_charlm = raised and ours and place.is_relative_to(Path(__file__).parents[1])
    # charlm and Lightning raise it without a name, `import` with one
    about_package = isinstance(error, ModuleNotFoundError) and error.name is None
    # such as an MlflowException of mlflow
    by_maker = is_making and raised and type(error).__module__.partition(".")[0] in place.parts
    by_lightning = type(error).__name__ == "MisconfigurationException" or (
        raised
        and "lightning" in place.parts
        and (isinstance(error, ValueError | TypeError) or (isinstance(error, RuntimeError) and place.name in _SAYS_SO))
    )
    return str(error).strip() if by_charlm or about_package or by_maker or by_lightning else None


def origin(error: BaseException) -> Path:
    """The file that raised `error`."""
    return Path(traceback.extract_tb(error.__traceback__)[-1].filename)


def is_raised(error: BaseException) -> bool:
    """Whether a `raise` statement raised `error`; errors out of the compiled code of numpy or torch have none."""
    return (traceback.extract_tb(error.__traceback__)[-1].line or "").startswith("raise")
