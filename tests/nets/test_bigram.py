import math

import pytest
import torch
from torch.nn import functional as F

from charlm.data.splits import load_splits
from charlm.nets.bigram import Bigram
from charlm.nets.loss import cross_entropy, evaluate


def test_the_lookup_of_the_last_character_is_one_hot_times_the_table_and_so_is_its_gradient():
    torch.manual_seed(0)
    net = Bigram(5, init="notebook")
    context, target = torch.tensor([[0], [3], [4], [3]]), torch.tensor([1, 2, 0, 2])
    table = net.W.detach().clone().requires_grad_()
    product = F.one_hot(context[:, -1], 5).float() @ table
    assert torch.equal(net(context), product)
    cross_entropy(net(context), target).backward()
    cross_entropy(product, target).backward()
    torch.testing.assert_close(net.W.grad, table.grad)
    assert torch.equal(net(torch.tensor([[1, 2, 3], [0, 0, 3]])), net(torch.tensor([[3], [3]])))


def test_the_default_starts_at_the_uniform_distribution_and_draws_nothing():
    before = torch.get_rng_state()
    net = Bigram()
    assert torch.equal(torch.get_rng_state(), before)
    assert [tuple(weights.shape) for weights in net.parameters()] == [(27, 27)]
    train = load_splits(block_size=1).train
    assert evaluate(net, [train.tensors()]).loss == pytest.approx(math.log(27))


def test_the_notebooks_table_is_the_first_draw_from_the_global_generator():
    torch.manual_seed(42)
    net = Bigram(27, init="notebook")
    after = torch.randn(3)
    torch.manual_seed(42)
    assert torch.equal(net.W, torch.randn(27, 27))
    assert torch.equal(after, torch.randn(3))
