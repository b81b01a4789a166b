import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from charlm.callbacks.embedding_pca.table import find_table, get_table


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


@pytest.mark.parametrize("net", [Net(), Tied()], ids=["one", "shared by three"])
def test_the_only_embedding_is_found(net):
    assert find_table(nn.ModuleDict({"net": net})) == "net.token"


@pytest.mark.parametrize(
    ("name", "shape"),
    [("token", (27, 10)), ("token.weight", (27, 10)), ("counts", (27, 27)), ("blocks.0.weight", (4, 10))],
)
def test_modules_parameters_and_buffers_are_found_by_name(name, shape):
    net = Net()
    assert find_table(net, name) == name
    table = get_table(net, name)
    assert (tuple(table.shape), table.requires_grad) == (shape, False)
    assert get_table(net.to(torch.float8_e4m3fn), name).dtype == torch.float32  # most operations do not take 8 bits


CANDIDATES = r"candidates: token \(27, 10\), position \(8, 10\), blocks.0.weight \(4, 10\), counts \(27, 27\)$"


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Two(), "Two has 2 nn.Embedding modules, so name the table; " + CANDIDATES),
        (  # a table that a parametrization computes is another tensor at each reading
            nn.ModuleDict({name: parametrizations.weight_norm(nn.Embedding(5, 3)) for name in "ab"}),
            r"ModuleDict has 2 nn.Embedding modules, .*; candidates: a \(5, 3\), b \(5, 3\)",
        ),
        (nn.Linear(3, 2), r"Linear has no nn.Embedding, so name the table; .* weight \(2, 3\)"),
    ],
)
def test_without_a_single_embedding_the_tables_are_listed(net, message):
    with pytest.raises(ValueError, match=message):
        find_table(net)


@pytest.mark.parametrize("name", ["tokens", "token.weights", "blocks", "blocks.0.bias", "mask", "forward", ""])
def test_a_name_that_is_no_table_gets_a_list_of_those_that_are(name):
    with pytest.raises(ValueError, match=f"^Two has no table '{name}'; " + CANDIDATES):
        find_table(Two(), name)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (torch.empty(0, 3), r"odd \(0, 3\) has no values; name one that has rows and columns\. candidates: odd"),
        (torch.eye(3).to_sparse(), r"odd \(3, 3\) is sparse; register a dense copy of it"),
        (torch.eye(3, dtype=torch.cfloat), r"odd \(3, 3\) has complex values; register its real part"),
    ],
)
def test_a_table_that_cannot_be_shown_is_refused(table, problem):
    net = nn.Module()
    net.register_buffer("odd", table)
    with pytest.raises(ValueError, match=r"^Module's table " + problem):
        find_table(net, "odd")
