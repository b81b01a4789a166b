"""Command lines whose mistakes get one or two sentences: what, where, what is allowed, what to do."""

import difflib
import re
import sys
from collections.abc import Iterable
from typing import NoReturn

from jsonargparse import ArgumentParser

_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: (\S+)|Option '([^']+)' is not accepted")
_KEY = re.compile(r'Parser key "([^"]+)"')
_EXPECTED = re.compile(r"Expected an? (?:<class '([\w.]+)'>|typing\.Literal\[(.*?)\])")
_VALUE = re.compile(r"(?:Got value|Given value): (?!NestedArg)(.*)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (.*)")
_CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")


class ShortErrors(ArgumentParser):
    """An ArgumentParser that answers a mistake with a sentence or two and exit status 2, and knows what was meant."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Write what is wrong, what is allowed and what was perhaps meant; then exit with status 2."""
        if not self.exit_on_error:  # a parser inside another one, which will say more
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        sys.stderr.write(f"{program(self)}: error: {parser.explain(message)}\n")
        self.exit(2)

    def explain(self, message: str) -> str:
        """One of argparse's or jsonargparse's messages as one or two sentences."""
        if unknown := _UNKNOWN_OPTION.search(message):
            return self._explain_unknown(unknown.group(1), unknown.group(2))
        if choice := _CHOICE.search(message):
            return f"there is no command {choice.group(1)!r}; the commands are {self._listed(choice)}"
        if no_class := _NO_CLASS.search(message):
            name = no_class.group(1)
            return f"there is no class {name!r} for --{_key(message)}{_meant(name, self.class_names())}"
        if (expected := _EXPECTED.findall(message)) and (value := _VALUE.search(message)):
            of_class = (
                "Problem with given class_path" in message
            )  # then the last line is about the class, not the value
            return f"--{_key(message)} is {value.group(1)!r}; allowed: {_allowed(expected[: -1 if of_class else None])}"
        lines = [line.strip(" -") for line in message.splitlines() if line.strip(" -")]
        return " ".join(lines[:2])[:400]

    def option_names(self) -> list[str]:
        """Every option of this parser, without dashes; a subclass adds those of the classes that can be chosen."""
        return [option.lstrip("-") for action in self._actions for option in action.option_strings]

    def class_names(self) -> list[str]:
        """Short names of the classes that can be chosen."""
        return []

    def _explain_unknown(self, argument: str | None, of_class: str | None) -> str:
        if argument is not None and not argument.startswith("-"):
            return f"what is {argument!r} for? Options begin with --; see {program(self)} --help"
        name = (argument or of_class or "").lstrip("-").split("=")[0]
        options = self.option_names()
        if of_class is not None:
            options = [option.rsplit(".", 1)[-1] for option in options]
        return f"there is no option {argument.split('=')[0] if argument else repr(name)}" + (
            _meant(name, options, prefix="" if of_class else "--") or f"; see {program(self)} --help"
        )

    def _listed(self, choice: re.Match[str]) -> str:
        names = re.findall(r"[\w-]+", choice.group(2))
        return ", ".join(names) + _meant(choice.group(1), names)


def program(parser: ArgumentParser) -> str:
    """What the user typed to get to this parser."""
    return parser.prog.split(" [")[0]


def _key(message: str) -> str:
    return ".".join(_KEY.findall(message))


def _allowed(expected: Iterable[tuple[str, str]]) -> str:
    names = [literal.replace("'", "") if literal else kind.rsplit(".", 1)[-1] for kind, literal in expected]
    readable = {
        "NoneType": "null",
        "str": "text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
    }
    return " or ".join(dict.fromkeys(readable.get(name, name) for name in names))


def _meant(wanted: str, names: Iterable[str], prefix: str = "") -> str:
    by_lower = {name.lower(): name for name in names}
    close = difflib.get_close_matches(wanted.lower(), by_lower, n=1)
    return f". Did you mean {prefix}{by_lower[close[0]]}?" if close else ""
