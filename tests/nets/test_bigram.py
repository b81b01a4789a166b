import math

import pytest
import torch
from torch.nn import functional as F

from charlm.data.splits import load_splits
from charlm.nets.bigram import Bigram
from charlm.nets.loss import cross_entropy, evaluate


def test_the_lookup_is_one_hot_times_the_table_and_so_is_its_gradient():
    torch.manual_seed(0)
    net = Bigram(5, init="notebook")
    context, target = torch.tensor([[0], [3], [4], [3]]), torch.tensor([1, 2, 0, 2])
    table = net.W.detach().clone().requires_grad_()
    product = F.one_hot(context[:, -1], 5).float() @ table
    assert torch.equal(net(context), product)
    cross_entropy(net(context), target).backward()
    cross_entropy(product, target).backward()
    torch.testing.assert_close(net.W.grad, table.grad)


def test_only_the_last_character_of_a_window_counts():
    net = Bigram(4, init="notebook")
    assert torch.equal(net(torch.tensor([[1, 2, 3], [0, 0, 3]])), net(torch.tensor([[3], [3]])))
    assert net.block_size == 1


def test_the_default_starts_at_the_uniform_distribution():
    train = load_splits(block_size=1).train
    assert evaluate(Bigram(27), [train.tensors()]).loss == pytest.approx(math.log(27))


def test_the_notebooks_table_is_the_first_draw_from_the_global_generator():
    torch.manual_seed(42)
    net = Bigram(27, init="notebook")
    after = torch.randn(3)
    torch.manual_seed(42)
    assert torch.equal(net.W, torch.randn(27, 27))
    assert torch.equal(after, torch.randn(3))


def test_building_the_default_draws_nothing():
    torch.manual_seed(1)
    Bigram(27)
    after = torch.randn(3)
    torch.manual_seed(1)
    assert torch.equal(after, torch.randn(3))


def test_it_has_one_number_for_each_pair():
    assert [tuple(weights.shape) for weights in Bigram().parameters()] == [(27, 27)]


def test_an_unknown_init_is_refused():
    with pytest.raises(ValueError, match="init is 'notebok'; give 'default' or 'notebook'"):
        Bigram(init="notebok")


@pytest.mark.parametrize("examples", [1, 25, 26, 4000])
def test_the_loss_is_the_cross_entropy_however_many_examples(examples):
    torch.manual_seed(3)
    net = Bigram(5, init="notebook")
    context, target = torch.randint(0, 5, (examples, 2)), torch.randint(0, 5, (examples,))
    loss, expected = net.loss(context, target), cross_entropy(net(context), target)
    torch.testing.assert_close(loss, expected)
    (slope,), (expected_slope,) = (torch.autograd.grad(value, net.W) for value in (loss, expected))
    torch.testing.assert_close(slope, expected_slope)


def test_the_loss_of_pairs_that_never_come_has_no_slope():
    net = Bigram(4, init="notebook")
    net.loss(torch.zeros(100, 1, dtype=torch.int64), torch.full((100,), 2)).backward()
    assert net.W.grad[1:].count_nonzero() == 0
    by_hand = net.W[0].softmax(0) - torch.tensor([0.0, 0, 1, 0])
    torch.testing.assert_close(net.W.grad[0], by_hand)


class Halved(Bigram):
    def forward(self, context):
        return super().forward(context) / 2


def test_a_subclass_with_another_forward_is_trained_on_it():
    net = Halved(4, init="notebook")
    context, target = torch.randint(0, 4, (100, 1)), torch.randint(0, 4, (100,))
    torch.testing.assert_close(net.loss(context, target), cross_entropy(net(context), target))


def test_what_never_comes_may_be_impossible():
    net = Bigram(4)
    with torch.no_grad():
        net.W[0, 3] = -torch.inf
    context, target = torch.zeros(100, 1, dtype=torch.int64), torch.arange(100) % 3
    assert net.loss(context, target).item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("wrong", [-1, 4])
def test_ids_outside_the_vocabulary_are_refused_also_among_many(wrong):
    target = torch.zeros(100, dtype=torch.int64)
    target[7] = wrong
    with pytest.raises((IndexError, RuntimeError)):
        Bigram(4).loss(torch.zeros(100, 1, dtype=torch.int64), target)
