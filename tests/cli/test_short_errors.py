import shlex
from typing import Literal

import pytest

from charlm.cli.short_errors import ShortErrors, subclasses


class Optimizer:
    """The base."""


class Plain(Optimizer):
    """A class that can be chosen."""

    def __init__(self, rate: float, steps: int = 1, kind: Literal["a", "b"] = "a") -> None:
        self.rate = rate


class Known(ShortErrors):
    """Knows the classes, as the Trainer's parser does."""

    def class_names(self) -> list[str]:
        return [kind.__name__ for kind in subclasses(Optimizer)]


@pytest.fixture
def parser():
    """A program with options of every kind."""
    parser = Known(prog="tool", allow_abbrev=False)
    parser.add_argument("--count", type=int)
    parser.add_argument("--share", type=float | None)
    parser.add_argument("--split", type=tuple[float, float])
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--flag", type=bool)
    parser.add_argument("--format", type=Literal["text", "csv"])
    parser.add_argument("--optimizer", type=Optimizer | None)
    return parser


def said(parser, line, capsys):
    """The one line on standard error with which a bad command line ends, and nothing on standard output."""
    with pytest.raises(SystemExit) as end:
        parser.parse_args(shlex.split(line))
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err.count("\n") == 1
    return err.rstrip("\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--cuont 3", "there is no option --cuont. Did you mean --count?"),
        ("--COUNT 3", "there is no option --COUNT. Did you mean --count?"),
        ("--opt 3", "there is no option --opt. Did you mean --optimizer?"),
        ("three", "unexpected argument 'three'; options begin with --, see tool --help"),
        ("--count three", "--count is 'three'; allowed: a whole number"),
        ("--split 0.5", "--split is '0.5'; allowed: a list"),
        ("--flag maybe", "--flag is 'maybe'; allowed: true or false"),
        ("--format html", "--format is 'html'; allowed: text, csv"),
        ("--split [1.0]", "--split: Expected a tuple with 2 elements. Got value: [1.0]"),
    ],
)
def test_a_mistake_gets_one_line_on_what_is_allowed(line, message, parser, capsys):
    assert said(parser, line, capsys) == f"tool: error: {message}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--optimizer Plian", "there is no class 'Plian' for --optimizer. Did you mean Plain?"),
        ("--optimizer {0}", "--optimizer: cannot make Plain, the following arguments are required: rate"),
        ("--optimizer {0} --optimizer.rate x", "--optimizer.rate is 'x'; allowed: a number"),
        ("--optimizer {0} --optimizer.rate 1 --optimizer.kind c", "--optimizer.kind is 'c'; allowed: a, b"),
        (
            "--optimizer {0} --optimizer.rate 1 --optimizer.stesp 2",
            "--optimizer.stesp is no argument of Plain. Did you mean --optimizer.steps?",
        ),
    ],
)
def test_so_does_one_about_a_class_or_its_arguments(line, message, parser, capsys):
    assert said(parser, line.format(f"{__name__}.Plain"), capsys) == f"tool: error: {message}"


def test_an_unknown_key_of_a_config_names_the_nearest_option(parser, tmp_path, capsys):
    parser.add_argument("--config", action="config")
    (tmp_path / "my.yaml").write_text("count: 3\nfromat: csv\n")
    expected = "tool: error: there is no option --fromat. Did you mean --format?"
    assert said(parser, f"--config {tmp_path}/my.yaml", capsys) == expected


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("fti", ". Did you mean fit?"),
        ("compare", ". Did you mean compare-counts?"),
        ("zzz", ""),
    ],
)
def test_an_unknown_command_gets_the_list(name, meant, capsys):
    parser = ShortErrors(prog="tool")
    commands = parser.add_subcommands()
    for command in ("fit", "test", "compare-counts"):
        commands.add_subcommand(command, ShortErrors())
    expected = f"tool: error: there is no command '{name}'; the commands are fit, test, compare-counts{meant}"
    assert said(parser, name, capsys) == expected


def test_a_mistake_behind_a_command_is_told_with_the_commands_own_options(capsys):
    parser = ShortErrors(prog="tool")
    fit = ShortErrors()
    fit.add_argument("--steps", type=int)
    parser.add_subcommands().add_subcommand("fit", fit)
    assert said(parser, "fit --stesp 3", capsys).endswith("there is no option --stesp. Did you mean --steps?")
    assert said(parser, "fit --steps many", capsys).endswith("--steps is 'many'; allowed: a whole number")


def test_a_message_that_is_not_known_is_cut_to_its_beginning():
    long = "\n".join(["first", "  - second", "", "third"])
    assert ShortErrors().explain(long) == "first second"
    assert len(ShortErrors().explain("x" * 5000)) == 400


def test_a_parser_inside_another_one_raises(parser):
    """The outer one says more."""
    inner = ShortErrors(exit_on_error=False)
    inner.add_argument("--count", type=int)
    with pytest.raises(Exception, match="count"):
        inner.parse_args(["--count", "x"])
