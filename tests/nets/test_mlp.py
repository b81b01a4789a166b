import math

import pytest
import torch

from charlm.data.splits import load_splits
from charlm.nets.loss import cross_entropy, evaluate
from charlm.nets.mlp import MLP
from charlm.nets.parts.mlp_gradients import mlp_gradients


def test_it_has_11897_parameters_at_the_courses_sizes():
    net = MLP(vocab_size=27, block_size=3, n_embd=10, n_hidden=200)
    by_hand = 27 * 10 + (3 * 10 * 200 + 200) + (200 * 27 + 27)
    assert sum(weights.numel() for weights in net.parameters()) == by_hand == 11_897
    assert sum(weights.numel() for weights in MLP().parameters()) == 11_897


@pytest.mark.parametrize(("V", "T", "C", "H"), [(27, 3, 10, 200), (5, 2, 3, 4), (4, 1, 1, 1)])
def test_the_notebook_is_drawn_and_computed_as_in_the_course(V, T, C, H):
    torch.manual_seed(42)
    net = MLP(V, T, C, H, init="notebook")
    after = torch.randint(0, 1000, (4,))
    torch.manual_seed(42)
    table = torch.randn(V, C) * 0.1
    W1 = torch.randn(T * C, H) * 0.2
    b1 = torch.randn(H) * 0.01
    W2 = torch.randn(H, V) * 0.01
    b2 = torch.randn(V) * 0
    assert torch.equal(after, torch.randint(0, 1000, (4,)))
    assert torch.equal(net.embedding.weight, table)
    assert torch.equal(net.hidden.weight, W1.T)
    assert torch.equal(net.hidden.bias, b1)
    assert torch.equal(net.output.weight, W2.T)
    assert torch.equal(net.output.bias, b2)
    context = torch.randint(0, V, (7, T))
    logits = torch.tanh(table[context].view(7, T * C) @ W1 + b1) @ W2 + b2
    torch.testing.assert_close(net(context), logits)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sizes", [{}, {"n_hidden": 1000}, {"block_size": 8, "n_embd": 2}, {"n_hidden": 2}])
def test_the_default_begins_within_a_twentieth_of_a_nat_of_guessing(seed, sizes):
    torch.manual_seed(seed)
    net = MLP(27, **sizes)
    train = load_splits(block_size=net.block_size).train
    loss = evaluate(net, [train.gather(torch.arange(0, len(train), 10))]).loss
    assert loss == pytest.approx(math.log(27), abs=0.05)


@pytest.mark.parametrize("init", ["default", "notebook"])
def test_the_seed_decides_the_weights_and_all_of_them_learn(init):
    nets = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        nets.append(MLP(6, 2, 3, 5, init=init))
    same, again, other = nets
    assert torch.equal(same.hidden.weight, again.hidden.weight)
    assert not torch.equal(same.hidden.weight, other.hidden.weight)
    cross_entropy(same(torch.randint(0, 6, (20, 2))), torch.randint(0, 6, (20,))).backward()
    assert all(weights.grad.abs().sum() > 0 for weights in same.parameters())


def test_the_order_of_the_context_matters():
    torch.manual_seed(0)
    logits = MLP(5, 2, 3, 4)(torch.tensor([[1, 2], [2, 1]]))
    assert logits.shape == (2, 5)
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize("size", ["vocab_size", "block_size", "n_embd", "n_hidden"])
def test_a_size_below_1_is_refused(size):
    with pytest.raises(ValueError, match=f"^{size} is 0; it must be at least 1$"):
        MLP(**{size: 0})


def test_an_unknown_init_is_refused():
    with pytest.raises(ValueError, match="init is 'notebok'; give 'default' or 'notebook'"):
        MLP(init="notebok")


def test_on_the_meta_device_it_takes_no_memory():
    with torch.device("meta"):
        net = MLP()
    assert all(weights.is_meta for weights in net.parameters())


@pytest.mark.parametrize(("B", "T", "C", "H"), [(32, 3, 10, 200), (1, 1, 1, 1), (700, 8, 4, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradients_by_hand_are_autograds_within_rounding(B, T, C, H, dtype):
    torch.manual_seed(1)
    net = MLP(27, T, C, H, init="notebook").to(dtype)
    context, target = torch.randint(0, 27, (B, T)), torch.randint(0, 27, (B,))
    expected = cross_entropy(net(context), target)
    of_autograd = torch.autograd.grad(expected, list(net.parameters()))
    before = [weight.clone() for weight in net.parameters()]
    loss, by_hand = mlp_gradients(net.arrays(), context, target)
    torch.testing.assert_close(loss, expected.detach())
    for mine, its in zip(by_hand, of_autograd, strict=True):
        torch.testing.assert_close(mine, its)
        assert not mine.requires_grad
    assert all(torch.equal(weight, was) for weight, was in zip(net.parameters(), before, strict=True))


def test_the_gradients_by_hand_are_the_slopes_of_the_loss():
    """Finite differences in double precision, an independent formula, through autograd."""
    torch.manual_seed(2)
    net = MLP(5, 2, 3, 4, init="notebook").double()
    context, target = torch.randint(0, 5, (6, 2)), torch.randint(0, 5, (6,))

    assert net.is_by_hand()
    weights = list(net.parameters())
    (3 * net.loss(context, target)).backward()
    with torch.no_grad():
        for weight in weights:
            for place in range(weight.numel()):
                losses = []
                for move in (1e-5, -2e-5):
                    weight.view(-1)[place] += move
                    losses.append(cross_entropy(net(context), target).item())
                weight.view(-1)[place] += 1e-5
                slope = 3 * (losses[0] - losses[1]) / 2e-5
                assert weight.grad.reshape(-1)[place].item() == pytest.approx(slope, rel=1e-5, abs=1e-8)


def hooked(net):
    net.hidden.register_forward_hook(lambda *_: None)


def tanh_hooked(net):
    net.tanh.register_forward_hook(lambda *_: None)


def frozen(net):
    net.embedding.weight.requires_grad_(False)


def halved(net):
    net.bfloat16()


@pytest.mark.parametrize("change", [hooked, tanh_hooked, frozen, halved])
def test_autograd_is_used_where_more_is_asked_than_the_gradients_of_all_weights(change):
    torch.manual_seed(3)
    net = MLP(5, 2, 3, 4)
    assert net.is_by_hand()
    change(net)
    assert not net.is_by_hand()
    context, target = torch.randint(0, 5, (6, 2)), torch.randint(0, 5, (6,))
    loss = net.loss(context, target)
    assert torch.equal(loss, cross_entropy(net(context), target))
    loss.backward()
    assert (net.embedding.weight.grad is None) == (change is frozen)


def test_nothing_is_differentiated_that_nobody_asked_for():
    net = MLP(5, 2, 3, 4)
    context, target = torch.zeros(3, 2, dtype=torch.int64), torch.tensor([1, 2, 3])
    with torch.no_grad():
        assert torch.equal(net.loss(context, target), cross_entropy(net(context), target))
    with torch.autocast("cpu"):
        assert not net.is_by_hand()
    assert not net.loss(context, target).isnan()


def test_large_logits_do_not_overflow():
    net = MLP(4, 1, 2, 2, init="notebook")
    with torch.no_grad():
        net.output.weight.mul_(1e6)
    context, target = torch.tensor([[1], [2]]), torch.tensor([3, 0])
    loss, _ = mlp_gradients(net.arrays(), context, target)
    torch.testing.assert_close(loss, cross_entropy(net(context), target).detach())


class Halved(MLP):
    def forward(self, context):
        return super().forward(context) / 2


def dropped(net):
    net.hidden = torch.nn.Sequential(net.hidden, torch.nn.Dropout())


def normed(net):
    torch.nn.utils.parametrizations.weight_norm(net.hidden)


def without_bias(net):
    net.output = torch.nn.Linear(4, 5, bias=False)


def another_activation(net):
    net.tanh = torch.nn.ReLU()


def looked_at(net):
    net.hidden.register_full_backward_hook(lambda *_: None)


@pytest.mark.parametrize("change", [dropped, normed, without_bias, looked_at, another_activation])
def test_a_net_that_was_changed_is_computed_by_torch(change):
    net = MLP(5, 2, 3, 4)
    change(net)
    assert not net.is_by_hand()
    context, target = torch.randint(0, 5, (6, 2)), torch.randint(0, 5, (6,))
    net.eval()
    with torch.inference_mode():
        assert net(context).shape == (6, 5)
    net.loss(context, target).backward()
    assert net.output.weight.grad is not None


def test_a_subclass_with_another_forward_is_trained_on_it():
    torch.manual_seed(4)
    net = Halved(5, 2, 3, 4, init="notebook")
    context, target = torch.randint(0, 5, (6, 2)), torch.randint(0, 5, (6,))
    assert not net.is_by_hand()
    torch.testing.assert_close(net.loss(context, target), cross_entropy(net(context), target))
    with torch.inference_mode():
        torch.testing.assert_close(net(context), MLP.forward(net, context) / 2)


def test_in_inference_mode_the_logits_are_the_same_within_rounding():
    torch.manual_seed(5)
    for rows in (1, 40, 3000):
        net = MLP(27, 3, 10, 200, init="notebook")
        context = torch.randint(0, 27, (rows, 3))
        with torch.inference_mode():
            torch.testing.assert_close(net(context), net(context.clone()))
            ours = net(context)
        torch.testing.assert_close(ours, net(context).detach())
        with torch.inference_mode():
            torch.testing.assert_close(net(context.t().contiguous().t()), ours)


@pytest.mark.filterwarnings("ignore")
def test_what_is_traced_is_torch():
    net = MLP(5, 2, 3, 4)
    with torch.inference_mode():
        traced = torch.jit.trace(net, torch.zeros(3, 2, dtype=torch.int64), check_trace=False)
    context = torch.tensor([[1, 2], [3, 4]])
    torch.testing.assert_close(traced(context), net(context))


@pytest.mark.parametrize("wrong", [-1, 5, 1000])
def test_ids_outside_the_vocabulary_are_refused_in_every_way(wrong):
    net = MLP(5, 2, 3, 4)
    good, bad = torch.tensor([[1, 2]]), torch.tensor([[1, wrong]])
    with pytest.raises(IndexError), torch.inference_mode():
        net(bad)
    with pytest.raises(IndexError):
        net.loss(bad, torch.tensor([1]))
    with pytest.raises((IndexError, RuntimeError)):
        net.loss(good, torch.tensor([wrong]))
    with pytest.raises(IndexError, match=r"target has an id outside 0..4"):
        mlp_gradients(net.arrays(), good, torch.tensor([wrong]))


def test_ignored_targets_and_no_examples_are_left_to_torch():
    net = MLP(5, 2, 3, 4)
    context = torch.tensor([[1, 2], [3, 4]])
    torch.testing.assert_close(net.loss(context, torch.tensor([-100, 3])), net.loss(context[1:], torch.tensor([3])))
    with torch.inference_mode():
        assert net(context[:0]).shape == (0, 5)
    assert net.loss(context[:0], torch.zeros(0, dtype=torch.int64)).isnan()


@pytest.mark.parametrize(
    ("context", "target"),
    [((1, 2), (4,)), ((4, 2), (1,)), ((4, 2), (4, 1)), ((4, 3), (4,)), ((4, 1), (4,)), ((4,), (4,))],
)
def test_shapes_that_do_not_fit_are_an_error(context, target):
    net = MLP(5, 2, 3, 4)
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        net.loss(torch.zeros(context, dtype=torch.int64), torch.zeros(target, dtype=torch.int64))


@pytest.mark.parametrize("options", [{"padding_idx": 0}, {"max_norm": 0.1}, {"scale_grad_by_freq": True}])
def test_an_embedding_with_options_is_torchs(options):
    net = MLP(5, 2, 3, 4)
    net.embedding = torch.nn.Embedding(5, 3, **options)
    assert not net.is_by_hand()
    context, target = torch.tensor([[0, 1], [1, 1], [2, 0]]), torch.tensor([1, 2, 3])
    net.loss(context, target).backward()
    ours = [weight.grad.clone() for weight in net.parameters()]
    net.zero_grad()
    torch.nn.functional.cross_entropy(net(context), target).backward()
    for grad, weight in zip(ours, net.parameters(), strict=True):
        torch.testing.assert_close(grad, weight.grad)  # max_norm has changed the table a little at the first look


def test_weights_of_two_dtypes_are_left_to_torch():
    net = MLP(5, 2, 3, 4)
    net.embedding.double()
    assert not net.is_by_hand()


def test_functional_gradients_are_autograds():
    """torch.func calls the net with tensors in place of its parameters."""
    net = MLP(5, 2, 3, 4)
    context, target = torch.tensor([[0, 1], [1, 1], [2, 0]]), torch.tensor([1, 2, 3])

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self):
            return self.net.loss(context, target)

    module = Loss()
    weights = dict(module.named_parameters())
    found = torch.func.grad(lambda given: torch.func.functional_call(module, given, ()))(weights)
    module().backward()
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], weight.grad)


def test_a_loss_that_is_lost_is_no_number_and_no_warning():
    net = MLP(5, 2, 3, 4)
    with torch.no_grad():
        net.output.bias[0] = float("inf")
    assert net.loss(torch.tensor([[0, 1]]), torch.tensor([1])).isnan()


def test_who_looks_at_the_hidden_units_changes_no_bit_of_the_logits():
    torch.manual_seed(6)
    for rows in (1, 40, 3000):
        net, seen = MLP(27, 3, 10, 200, init="notebook"), []
        context = torch.randint(0, 27, (rows, 3))
        with torch.inference_mode():
            before = net(context)
            handle = net.tanh.register_forward_hook(lambda part, inputs, output, seen=seen: seen.append(output.clone()))
            assert torch.equal(net(context), before)
            handle.remove()
            assert torch.equal(net(context), before)
        (hidden,) = seen
        expected = torch.tanh(net.hidden(net.embedding(context).flatten(1)))
        torch.testing.assert_close(hidden, expected.detach())


def test_what_a_hook_makes_of_the_hidden_units_is_what_counts():
    net, context = MLP(5, 2, 3, 4), torch.tensor([[0, 1], [2, 3]])
    net.tanh.register_forward_hook(lambda part, inputs, output: torch.zeros_like(output))
    with torch.inference_mode():
        assert torch.equal(net(context), net.output.bias.expand(2, 5))
    assert torch.equal(net(context), net.output.bias.expand(2, 5))


def test_the_activation_has_no_weights():
    """So that older checkpoints load."""
    assert not [name for name in MLP().state_dict() if "tanh" in name]
