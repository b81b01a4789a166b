"""The command `charlm`: which part of the package answers, and how its errors reach the user. Wiring only.

Only `fit`, `validate`, `test` and `predict` import Lightning; everything else starts in the time that torch takes.
"""

import os
import sys
import traceback
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from charlm.arguments import COMMANDS, TRAINER_COMMANDS

USAGE = "charlm [-h] [--version] [--print_completion=shtab-bash|shtab-zsh] COMMAND ..."


def main(args: list[str] | None = None) -> None:
    """Run `charlm ARGS...`; a user's mistake is one or two sentences on standard error and exit status 2."""
    args = sys.argv[1:] if args is None else args
    try:
        run(args)
    except BrokenPipeError:  # `charlm sample | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if not is_message(error):
            raise
        sys.stderr.write(f"charlm: error: {error}\n")
        raise SystemExit(2) from None


def run(args: list[str]) -> None:
    """Hand `args` to the part that answers them."""
    if not args or args[0] in ("-h", "--help"):
        print(help_text())
    elif args[0] == "--version":
        print(f"charlm {version('charlm')}")
    elif args[0] in COMMANDS:
        import_module("charlm.commands.line").run_command(args[0], args[1:])
    else:
        import_module("charlm.trainer_cli").run_trainer(args)


def help_text() -> str:
    """What `charlm --help` prints."""
    lines = [f"usage: {USAGE}", "", "Character-level language models of names.", "", "commands:"]
    lines += [f"  {name:<16}{text}" for name, text in {**TRAINER_COMMANDS, **COMMANDS}.items()]
    lines += [
        "",
        "`charlm COMMAND --help` says more; `charlm fit` alone trains the MLP on the names that come with charlm.",
    ]
    return "\n".join(lines)


def is_message(error: Exception) -> bool:
    """Whether `error` was raised by this package, or by Lightning's own checks, to tell the user what to change.

    Any other exception is a defect, and keeps its traceback.
    """
    if type(error).__name__ == "MisconfigurationException":
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, ValueError | OSError) and Path(frames[-1].filename).is_relative_to(Path(__file__).parent)
