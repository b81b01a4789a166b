from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from charlm.callbacks.embedding_pca.table import choose_rows, find_table, get_table


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


CANDIDATES = r"candidates: token \(27, 10\), position \(8, 10\), counts \(27, 27\)$"


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
    "table",
    [
        torch.empty(0, 3),
        torch.eye(3).to_sparse(),
        torch.eye(3, dtype=torch.cfloat),
    ],
)
def test_a_table_that_cannot_be_shown_is_refused(table):
    net = nn.Module()
    net.register_buffer("odd", table)
    with pytest.raises(ValueError, match=r"^Module's table odd \(., 3\) is sparse, complex or empty; .*: odd"):
        find_table(net, "odd")


def test_of_several_embeddings_the_only_one_with_more_than_one_row_is_found():
    net = Net()
    net.norm, net.start = nn.Embedding(1, 10), nn.Embedding(1, 10)
    assert find_table(net) == "token"


class Module:
    embedding_labels = ("a", "b", "c")
    embedding_kinds = ("x", "y", "x")


def rows(labels=None, kinds=None, module=Module, count=5, most=9):
    return choose_rows(labels, kinds, module(), count, "net.0", most)


@pytest.mark.parametrize(
    ("given", "labels"),
    [(None, ["a", "b", "c"]), ([], ["0", "1", "2", "3", "4"]), (list("vwxyz"), ["v", "w", "x", "y", "z"])],
)
def test_labels_come_from_the_argument_the_model_or_the_row_numbers(given, labels):
    """Rows beyond the model's labels are left out."""
    assert rows(given).labels == labels


@pytest.mark.parametrize(
    ("labels", "given", "kinds", "probed"),
    [
        (None, None, ["x", "y", "x"], ["x", "y", "x"]),
        ([".", "a", "b", "-", "c"], None, ["boundary", "vowel", "consonant", "other", "consonant"],
         ["", "vowel", "consonant", "", "consonant"]),  # not the model's, which are of other labels
        (["the", "a", "b b", "0", "1"], None, [], [""] * 5),
        (None, ["u", "v", "u"], ["u", "v", "u"], ["u", "v", "u"]),
        (None, [], [], [""] * 3),
    ],
)  # fmt: skip
def test_kinds_come_from_the_argument_the_model_or_the_letters(labels, given, kinds, probed):
    assert (rows(labels, given).kinds, rows(labels, given).probed) == (kinds, probed)


def test_large_tables_are_sampled_alike_each_time_without_the_global_generator():
    before = torch.get_rng_state()
    drawn, again = (rows([], count=50_000, most=2000).drawn for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(drawn, again)
    assert (len(drawn), len(set(drawn.tolist()))) == (2000, 2000)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"labels": list("ab"), "kinds": ["u"], "count": 2}, "EmbeddingPCA has 1 kinds for the 2 labelled"),
        ({"module": lambda: SimpleNamespace(embedding_labels="ab", embedding_kinds="xyz")},
         "SimpleNamespace.embedding_kinds has 3 kinds for the 2"),
        ({"count": 2}, "Module.embedding_labels has 3 labels for the 2 rows of net.0"),
        ({"labels": ["u"]}, "EmbeddingPCA has 1 labels for the 5 rows of net.0"),
    ],
)  # fmt: skip
def test_too_many_or_too_few_labels_or_kinds_are_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        rows(**ask)
