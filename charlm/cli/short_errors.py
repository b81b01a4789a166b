"""A command-line parser whose error messages are one or two sentences: what is wrong, where, and what is allowed.

The patterns below are jsonargparse's and argparse's words for the most common mistakes. Of any other message the user
sees the first two lines.
"""

import re
import sys
from argparse import Action
from importlib import import_module
from typing import NoReturn

from jsonargparse import ArgumentParser

from charlm.messages import did_you_mean, parameters_of, visible

_KEY = re.compile(r'[Pp]arser key "([^"]+)"')
_UNKNOWN = re.compile(r"unrecognized arguments: ([^\s=]+)|[Oo]ption '([^']+)'")
_COMMAND = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")
_CLASS = re.compile(r"Expected a dot import path string: (.*)")
_OF_CLASS = re.compile(r"given class_path '([\w.]+)':\s+(.*)")
_TYPE = re.compile(r"Expected an? (?:<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.*?)\])")
_SUBCLASS = re.compile(r"valid subclass of (\w+)")
_VALUE = re.compile(r"(?:Got value|Given value): (?!NestedArg)(.*)")
_WORDS = {
    "NoneType": "null",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "tuple": "a list",
    "list": "a list",
}


class ShortErrors(ArgumentParser):
    """An ArgumentParser that answers a mistake with one or two sentences and exit status 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Write what is wrong, what is allowed and what was perhaps meant; then exit with status 2."""
        if not self.exit_on_error:  # a parser inside another one, which will explain the mistake
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        print(f"{program(self)}: error: {visible(parser.explain(message))}", file=sys.stderr)
        self.exit(2)

    def explain(self, message: str) -> str:
        """One of argparse's or jsonargparse's messages as one or two sentences."""
        key = ".".join(_KEY.findall(message))
        option = f"--{dashed if (dashed := key.replace('_', '-')) in self.option_names() else key}"
        of_class = _OF_CLASS.search(message)
        if unknown := _UNKNOWN.search(message):
            return self._explain_unknown(unknown[1] or f"--{unknown[2]}", option, of_class[1] if of_class else None)
        if command := _COMMAND.search(message):
            names = re.findall(r"[\w-]+", command[2])
            meant = did_you_mean(command[1], names)
            return f"there is no command {command[1]!r}; the commands are {', '.join(names)}{meant}"
        if no_class := _CLASS.search(message):
            return f"there is no class {no_class[1]!r} for {option}{did_you_mean(no_class[1], self.class_names())}"
        if of_class and "arser key" not in of_class[2]:
            return f"{option}: cannot make {of_class[1].rpartition('.')[2]}, {of_class[2]}"
        if (types := _TYPE.findall(message)) and (value := _VALUE.search(message)):
            types = types[: -1 if of_class else None]  # the last one is about the class, not the value
            allowed = [f"a {kind}" for kind in _SUBCLASS.findall(message)]
            allowed += [choices.replace("'", "") if choices else _WORDS.get(name, name) for name, choices in types]
            return f"{option} is {value[1]!r}; allowed: {' or '.join(dict.fromkeys(allowed))}"
        lines = [line.strip().removeprefix("- ") for line in _KEY.sub(r"--\1", message).splitlines() if line.strip()]
        return " ".join(lines[:2])[:400]

    def option_names(self) -> list[str]:
        """Every option of this parser, without dashes; a subclass adds those of the classes that can be chosen."""
        return [name.lstrip("-") for option in self.options() for name in option.option_strings]

    def options(self) -> list[Action]:
        """The options of this parser."""
        return [action for action in self._actions if action.option_strings]

    def class_names(self) -> list[str]:
        """Short names of the classes that can be chosen."""
        return []

    def _explain_unknown(self, given: str, option: str, class_path: str | None) -> str:
        name = given.lstrip("-")
        if class_path is not None:
            module, _, kind = class_path.rpartition(".")
            arguments = parameters_of(getattr(import_module(module), kind))
            return f"{option}.{name} is no argument of {kind}{did_you_mean(name, arguments, prefix=f'{option}.')}"
        if name == given:
            return f"unexpected argument {name!r}; options begin with --, see {program(self)} --help"
        meant = did_you_mean(name, self.option_names(), prefix="--")
        return f"there is no option {given}{meant or f'; see {program(self)} --help'}"


def program(parser: ArgumentParser) -> str:
    """What the user typed to get to this parser."""
    return parser.prog.replace(" [options]", "")


def subclasses(kind: type) -> list[type]:
    """All subclasses of a class that are imported, those of its subclasses as well."""
    children: list[type] = kind.__subclasses__()
    return [found for child in children for found in (child, *subclasses(child))]
