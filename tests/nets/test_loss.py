import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from charlm.nets.loss import cross_entropy, evaluate, nats


class Table(nn.Module):
    """A net whose logits after character i are row i."""

    def __init__(self, rows):
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows))

    def forward(self, context):
        return self.rows[context[:, -1]]


class Doubtful(Table):
    """Gives other logits in training."""

    def forward(self, context):
        return torch.zeros(len(context), 2) if self.training else super().forward(context)


def surprise(logits, target):
    """-log softmax, in plain Python."""
    return math.log(sum(math.exp(x) for x in logits)) - logits[target]


@given(st.data(), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_whole_names_count_only_where_there_is_a_target(data, B, L, V):
    numbers = st.floats(-5, 5, width=32)
    logits = torch.tensor(data.draw(st.lists(numbers, min_size=B * L * V, max_size=B * L * V))).view(B, L, V)
    target = torch.tensor(data.draw(st.lists(st.integers(-1, V - 1), min_size=B * L, max_size=B * L))).view(B, L)
    expected = [
        [surprise(logits[b, i].tolist(), target[b, i].item()) if target[b, i] >= 0 else 0.0 for i in range(L)]
        for b in range(B)
    ]
    found = nats(logits, target)
    assert found.tolist() == [pytest.approx(row, abs=1e-5) for row in expected]
    assert torch.all(found[target == -1] == 0)
    count = (target >= 0).sum().item()
    if count:
        mean = sum(map(sum, expected)) / count
        assert cross_entropy(logits, target).item() == pytest.approx(mean, abs=1e-5)


def test_evaluate_is_the_mean_over_examples_and_not_over_batches():
    net = Table([[0.0, 0.0], [math.log(3), 0.0]])
    batches = [
        (torch.tensor([[0], [0], [0]]), torch.tensor([0, 1, 1])),  # ln 2 each
        (torch.tensor([[0, 1]]), torch.tensor([1])),  # ln 4
    ]
    found = evaluate(net, batches)
    assert found.count == 4
    assert found.loss == pytest.approx(5 / 4 * math.log(2))
    assert found.perplexity == pytest.approx(2 ** (5 / 4))


def test_evaluate_adds_up_in_double_precision():
    net = Table([[0.0, 2.0**29], [0.0, 33.0]])  # the surprise at 0 is 2^29 and 33; a float32 sum has steps of 64 there
    context, target = torch.tensor([[0], [1], [1], [1]]), torch.zeros(4, dtype=torch.int64)
    assert evaluate(net, [(context, target)]).loss == (2**29 + 99) / 4
    assert evaluate(net, [(context[i : i + 1], target[:1]) for i in range(4)]).loss == (2**29 + 99) / 4


@pytest.mark.parametrize("batches", [[], [(torch.tensor([[0]]), torch.tensor([-1]))]])
def test_nothing_to_evaluate_is_refused(batches):
    with pytest.raises(ValueError, match="there is no example to evaluate; give this split a share of the names"):
        evaluate(Table([[0.0, 0.0]]), batches)


class Frozen(nn.Module):
    """A table that is another one in training, behind a part that stays in eval mode."""

    def __init__(self):
        super().__init__()
        self.table, self.noise = Doubtful([[math.log(3), 0.0]]), nn.Dropout(0.5)
        self.noise.eval()

    def forward(self, context):
        return self.noise(self.table(context))


def test_an_evaluation_is_in_eval_mode_and_also_a_failed_one_leaves_a_frozen_part_frozen():
    net = Frozen()
    assert evaluate(net, [(torch.tensor([[0]]), torch.tensor([1]))]).loss == pytest.approx(math.log(4))
    assert [module.training for module in net.modules()] == [True, True, False]
    assert net.table.rows.grad is None
    with pytest.raises(IndexError):
        evaluate(net, [(torch.tensor([[7]]), torch.tensor([1]))])
    assert [module.training for module in net.modules()] == [True, True, False]
