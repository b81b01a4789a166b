import string

from hypothesis import given
from hypothesis import strategies as st

from charlm.cli.trainer.options import Options

words = st.text(string.ascii_letters + string.digits + "-_./=", max_size=12)


@given(st.lists(words), words)
def test_a_value_that_is_added_is_found(args, value):
    assert Options.read([*args, f"--wanted={value}"]).last("--wanted") == value


@given(st.lists(words))
def test_the_arguments_mean_the_same_again(args):
    """An option and its value become one argument; nothing is lost, added or moved."""
    again = Options.read(args).args()
    assert "=".join(again).replace("=", "") == "=".join(args).replace("=", "")
    assert Options.read(again).pairs == Options.read(args).pairs


def test_a_negative_number_is_a_value_and_a_dash_begins_an_option():
    assert Options.read(["--lr", "-1", "--a", "-.5", "--b", "-c"]).pairs == [
        ("--lr", "-1"), ("--a", "-.5"), ("--b", None), ("-c", None)
    ]  # fmt: skip
