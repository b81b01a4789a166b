"""The parsers of charlm's own commands, made from the signatures and docstrings of their functions."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from docstring_parser import parse as parse_docstring

from charlm.cli.fast_cpu import fast_products
from charlm.cli.options_named import options_named
from charlm.cli.short_errors import ShortErrors
from charlm.cli.without_gc import without_gc


def run_command(name: str, args: list[str]) -> None:
    """Parse `args` and run the command `name`; a mistake in them ends with exit status 2."""
    parser = command_parser(name)
    settings = parser.parse_args(args).as_dict()
    options = {option.dest: option.option_strings[-1] for option in parser.options()}
    with fast_products(), options_named(options):
        command_function(name)(**settings)


def command_function(name: str) -> Callable[..., None]:
    """The function of a command: for compare-counts it is `compare_counts` in commands/compare_counts.py."""
    word = name.replace("-", "_")
    with without_gc():
        function: Callable[..., None] = getattr(import_module(f"charlm.cli.commands.{word}"), word)
    return function


def command_parser(name: str) -> ShortErrors:
    """The parser of a command, with an option for each parameter (-n or --n for `n`); lists are positional."""
    function = command_function(name)
    doc = parse_docstring(function.__doc__ or "")
    description = " ".join(filter(None, (doc.short_description, doc.long_description)))
    parser = ShortErrors(prog=f"charlm {name}", description=description, allow_abbrev=False)
    texts = {parameter.arg_name: parameter.description for parameter in doc.params}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        text = texts.get(parameter.name)  # none under python -OO, which drops docstrings
        parser.add_argument(*_option(parameter), help=text, **_kind(parameter))
    return parser


def _is_list(parameter: inspect.Parameter) -> bool:
    return "list" in str(parameter.annotation)


def _option(parameter: inspect.Parameter) -> list[str]:
    name = parameter.name.replace("_", "-")
    if _is_list(parameter):
        return [parameter.name]
    return [f"-{name}", f"--{name}"] if len(name) == 1 else [f"--{name}"]


def _kind(parameter: inspect.Parameter) -> dict[str, Any]:
    if _is_list(parameter):
        required = parameter.default is inspect.Parameter.empty
        return {"nargs": "+", "type": str} if required else {"nargs": "*", "type": str, "default": None}
    if parameter.annotation is bool:
        return {"action": "store_true"}
    return {"type": parameter.annotation, "default": parameter.default}
