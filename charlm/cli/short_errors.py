"""Command lines whose mistakes get one or two sentences: what, where, what is allowed, what to do."""

import re
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import NoReturn

from jsonargparse import ArgumentParser

from charlm.messages import did_you_mean, parameters_of

_UNKNOWN_OPTION = re.compile(
    r"unrecognized arguments: (\S+)|(?:does not accept option|^Option) '([^']+)'(?: is not accepted)?$"
)
_UNKNOWN_ARGUMENT = re.compile(r"given class_path '([\w.]+)':\s+Option '([^']+)' is not accepted")
_OF_CLASS = re.compile(r"given class_path '([\w.]+)':\s+(.*)")
_KEY = re.compile(r'[Pp]arser key "([^"]+)"')
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
        if of_class := _UNKNOWN_ARGUMENT.search(message):
            class_path, name = of_class.groups()
            meant = did_you_mean(name, _arguments(class_path), prefix=f"--{_key(message)}.")
            return f"--{_key(message)}.{name} is no argument of {_class_name(class_path)}{meant}"
        if unknown := _UNKNOWN_OPTION.search(message):
            return self._explain_unknown(unknown.group(1) or f"--{unknown.group(2)}")
        if choice := _CHOICE.search(message):
            return f"there is no command {choice.group(1)!r}; the commands are {self._listed(choice)}"
        if no_class := _NO_CLASS.search(message):
            name = no_class.group(1)
            return f"there is no class {name!r} for --{_key(message)}{did_you_mean(name, self.class_names())}"
        of_class = _OF_CLASS.search(message)
        if of_class and not of_class.group(2).startswith("Parser key"):
            return f"--{_key(message)}: {_class_name(of_class.group(1))} cannot be made, {of_class.group(2)}"
        if (expected := _EXPECTED.findall(message)) and (value := _VALUE.search(message)):
            allowed = expected[: -1 if of_class else None]  # the last line is about the class, not the value
            return f"--{_key(message)} is {value.group(1)!r}; allowed: {_allowed(allowed)}"
        message = _KEY.sub(r"--\1", message)
        lines = [line.strip().removeprefix("- ") for line in message.splitlines() if line.strip()]
        return " ".join(lines[:2])[:400]

    def option_names(self) -> list[str]:
        """Every option of this parser, without dashes; a subclass adds those of the classes that can be chosen."""
        return [option.lstrip("-") for action in self._actions for option in action.option_strings]

    def class_names(self) -> list[str]:
        """Short names of the classes that can be chosen."""
        return []

    def _explain_unknown(self, argument: str) -> str:
        if not argument.startswith("-"):
            return f"what is {argument!r} for? Options begin with --; see {program(self)} --help"
        option = argument.split("=")[0]
        meant = did_you_mean(option.lstrip("-"), self.option_names(), prefix="--")
        return f"there is no option {option}{meant or f'; see {program(self)} --help'}"

    def _listed(self, choice: re.Match[str]) -> str:
        names = re.findall(r"[\w-]+", choice.group(2))
        return ", ".join(names) + did_you_mean(choice.group(1), names)


def program(parser: ArgumentParser) -> str:
    """What the user typed to get to this parser."""
    return parser.prog.split(" [")[0]


def subclasses(kind: type) -> list[type]:
    """All subclasses of a class that are imported, those of its subclasses as well."""
    children: list[type] = kind.__subclasses__()
    return [found for child in children for found in (child, *subclasses(child))]


def _class_name(class_path: str) -> str:
    return class_path.rsplit(".", 1)[-1]


def _arguments(class_path: str) -> list[str]:
    """The arguments of a class that the parser has already found."""
    module, _, name = class_path.rpartition(".")
    return parameters_of(getattr(import_module(module), name))


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
        "tuple": "a list",
    }
    return " or ".join(dict.fromkeys(readable.get(name, name) for name in names))
