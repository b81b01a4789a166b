"""What test_mistakes.py does not meet on the command line of charlm itself."""

import shlex

import pytest

from charlm.cli.short_errors import ShortErrors


@pytest.fixture
def parser():
    parser = ShortErrors(prog="tool", allow_abbrev=False)
    parser.add_argument("--count", type=int)
    parser.add_argument("--split", type=tuple[float, float])
    parser.add_argument("--flag", type=bool)
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
        ("--COUNT 3", "there is no option --COUNT. Did you mean --count?"),
        ("--split 0.5", "--split is '0.5'; allowed: a list"),
        ("--flag maybe", "--flag is 'maybe'; allowed: true or false"),
        ("--split [1.0]", "--split: Expected a tuple with 2 elements. Got value: [1.0]"),
    ],
)
def test_a_mistake_gets_one_line_on_what_is_allowed(line, message, parser, capsys):
    assert said(parser, line, capsys) == f"tool: error: {message}"


def test_a_message_that_is_not_known_is_cut_to_its_beginning():
    long = "\n".join(["first", "  - second", "", "third"])
    assert ShortErrors().explain(long) == "first second"
    assert len(ShortErrors().explain("x" * 5000)) == 400
