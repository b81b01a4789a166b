import pytest
import torch
from torch import nn

from charlm.callbacks.embedding_table import find_table, get_table


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(27, 10)
        self.blocks = nn.Sequential(nn.Linear(10, 4), nn.Tanh())
        self.register_buffer("counts", torch.zeros(27, 27))
        self.register_buffer("mask", torch.zeros(3))


class Two(Net):
    def __init__(self):
        super().__init__()
        self.position = nn.Embedding(8, 10)


class Tied(Net):
    def __init__(self):
        super().__init__()
        self.again = self.token
        self.same = nn.Embedding(27, 10)
        self.same.weight = self.token.weight


def test_the_only_embedding_is_found():
    assert find_table(nn.ModuleDict({"net": Net()})) == "net.token"


def test_embeddings_that_share_a_table_count_once():
    assert find_table(Tied()) == "token"


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("token", (27, 10)),
        ("token.weight", (27, 10)),
        ("counts", (27, 27)),
        ("blocks.0", (4, 10)),
        ("blocks.0.weight", (4, 10)),
    ],
)
def test_modules_parameters_and_buffers_are_found_by_name(name, shape):
    net = Net()
    assert find_table(net, name) == name
    table = get_table(net, name)
    assert (tuple(table.shape), table.requires_grad) == (shape, False)


CANDIDATES = r"candidates: token \(27, 10\), position \(8, 10\), blocks.0.weight \(4, 10\), counts \(27, 27\)$"


def test_of_several_one_must_be_named():
    with pytest.raises(ValueError, match="Two has 2 nn.Embedding modules, so the table must be named; " + CANDIDATES):
        find_table(Two())


def test_without_any_the_other_tables_are_listed():
    with pytest.raises(ValueError, match=r"Linear has no nn.Embedding, so .* be named; candidates: weight \(2, 3\)$"):
        find_table(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="candidates: none"):
        find_table(nn.Tanh())


@pytest.mark.parametrize(
    "name", ["tokens", "token.weights", "blocks", "blocks.1", "blocks.0.bias", "mask", "forward", ""]
)
def test_a_name_that_is_no_table_gets_a_list_of_those_that_are(name):
    with pytest.raises(ValueError, match=f"Two has no table '{name}'; " + CANDIDATES):
        find_table(Two(), name)


def test_a_compiled_part_keeps_its_plain_name():
    """torch.compile wraps a module in another; nothing is compiled until it is called."""
    net = nn.ModuleDict({"net": torch.compile(Net(), backend="eager")})
    assert find_table(net) == "net.token"
    assert get_table(net, "net.token") is not None
