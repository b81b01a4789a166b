"""The faster ways to a loss and its gradients give what torch's cross-entropy and autograd give."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from charlm.models.fast_bigram import loss_by_counts
from charlm.models.fast_mlp import is_plain, mlp_gradients
from charlm.models.windows import LitBigram, LitMLP
from charlm.nets.bigram import Bigram
from charlm.nets.mlp import MLP


def small(**arguments):
    torch.manual_seed(3)
    return LitMLP(alphabet="abcd", block_size=2, n_embd=3, n_hidden=4, init="notebook", **arguments)


def arrays(net):
    return [weight.detach().numpy() for weight in net.parameters()]


def batch(B=6, T=2, V=5):
    return torch.randint(0, V, (B, T)), torch.randint(0, V, (B,))


@pytest.mark.parametrize(("B", "T", "C", "H"), [(32, 3, 10, 200), (1, 1, 1, 1), (700, 8, 4, 5)])
def test_the_analytic_gradients_are_autograds_within_rounding(B, T, C, H):
    torch.manual_seed(1)
    net = MLP(27, T, C, H, init="notebook")
    context, target = batch(B, T, 27)
    expected = F.cross_entropy(net(context), target)
    of_autograd = torch.autograd.grad(expected, list(net.parameters()))
    before = [weight.clone() for weight in net.parameters()]
    loss, analytic = mlp_gradients(arrays(net), context, target)
    torch.testing.assert_close(torch.tensor(loss), expected.detach())
    for mine, its in zip(analytic, of_autograd, strict=True):
        torch.testing.assert_close(mine, its)
    assert all(torch.equal(weight, was) for weight, was in zip(net.parameters(), before, strict=True))


class Halved(MLP):
    def forward(self, context):
        return super().forward(context) / 2


CHANGES = {
    "hook": lambda net: net.hidden.register_forward_hook(lambda *_: None),
    "hook on a weight": lambda net: net.embedding.weight.register_hook(lambda gradient: 2 * gradient),
    "frozen": lambda net: net.embedding.weight.requires_grad_(False),
    "bfloat16": lambda net: net.bfloat16(),
    "another part": lambda net: setattr(net, "hidden", nn.Sequential(net.hidden, nn.Dropout())),
    "no bias": lambda net: setattr(net, "output", nn.Linear(4, 5, bias=False)),
    "weight norm": lambda net: nn.utils.parametrizations.weight_norm(net.hidden),
    "subclass": lambda net: setattr(net, "__class__", Halved),
    "padding_idx": lambda net: setattr(net, "embedding", nn.Embedding(5, 3, padding_idx=0)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_net_that_was_changed_is_left_to_autograd(change):
    model, (context, target) = small(), batch()
    assert model.gradient_function() is not None
    CHANGES[change](model.net)
    model.net.eval()
    assert not is_plain(model.net)
    assert model.gradient_function() is None
    torch.testing.assert_close(model.loss(context, target), F.cross_entropy(model.net(context), target))


def test_label_smoothing_autocast_functional_weights_and_second_derivatives_are_left_to_autograd():
    assert small(label_smoothing=0.1).gradient_function() is None
    model, (context, target) = small(), batch()
    with torch.autocast("cpu"):
        assert model.loss(context, target).grad_fn.name() != "AnalyticLossBackward"
    model.forward = model.loss
    given = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    found = torch.func.grad(lambda weights: torch.func.functional_call(model, weights, (context, target)))(given)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(model.loss(context, target), list(model.parameters()), create_graph=True)
    model.loss(context, target).backward()
    for name, weight in model.named_parameters():
        torch.testing.assert_close(found[name], weight.grad)


def test_ids_outside_the_vocabulary_and_shapes_that_do_not_fit_are_refused():
    weights = arrays(small().net)
    for wrong in (-1, 5):
        with pytest.raises(IndexError, match=r"context has an id outside 0\.\.4"):
            mlp_gradients(weights, torch.tensor([[1, wrong]]), torch.tensor([1]))
        with pytest.raises(IndexError, match=r"target has an id outside 0\.\.4"):
            mlp_gradients(weights, torch.tensor([[1, 2]]), torch.tensor([wrong]))
    for shapes in (((1, 2), (4,)), ((4, 2), (4, 1)), ((4, 3), (4,))):
        context, target = (torch.zeros(shape, dtype=torch.int64) for shape in shapes)
        with pytest.raises(ValueError, match=r"give \(B, T\) and \(B,\)"):
            mlp_gradients(weights, context, target)


@pytest.mark.filterwarnings("error")
def test_large_logits_do_not_overflow_and_infinite_ones_give_nan_without_a_warning():
    net, (context, target) = small().net, batch()
    with torch.no_grad():
        net.output.weight.mul_(1e6)
        loss, _ = mlp_gradients(arrays(net), context, target)
        torch.testing.assert_close(torch.tensor(loss), F.cross_entropy(net(context), target))
        net.output.bias[0] = float("inf")
    assert math.isnan(mlp_gradients(arrays(net), context, target)[0])


# the bigram


@pytest.mark.parametrize("examples", [1, 25, 26, 4000])
def test_the_bigrams_loss_is_the_cross_entropy_however_many_examples(examples):
    torch.manual_seed(3)
    model = LitBigram(alphabet="abcd", init="notebook")
    context, target = batch(examples)
    loss, expected = model.loss(context, target), F.cross_entropy(model.net(context), target)
    torch.testing.assert_close(loss, expected)
    (slope,), (expected_slope,) = (torch.autograd.grad(value, model.net.W) for value in (loss, expected))
    torch.testing.assert_close(slope, expected_slope)


def test_pairs_that_never_occur_have_no_slope_and_may_be_impossible():
    net = Bigram(4)
    with torch.no_grad():
        net.W[0, 3] = -torch.inf
    loss = loss_by_counts(net, torch.zeros(100, 1, dtype=torch.int64), torch.arange(100) % 3)
    assert loss.item() == pytest.approx(math.log(3))
    net = Bigram(4, init="notebook")
    loss_by_counts(net, torch.zeros(100, 1, dtype=torch.int64), torch.full((100,), 2)).backward()
    assert net.W.grad[1:].count_nonzero() == 0
    torch.testing.assert_close(net.W.grad[0], net.W[0].softmax(0).detach() - torch.tensor([0.0, 0, 1, 0]))


def test_a_changed_bigram_is_trained_on_its_own_logits():
    class Quartered(Bigram):
        def forward(self, context):
            return super().forward(context) / 4

    model, (context, target) = LitBigram(alphabet="abcd", init="notebook"), batch(100)
    model.net.__class__ = Quartered
    torch.testing.assert_close(model.loss(context, target), F.cross_entropy(model.net(context), target))
