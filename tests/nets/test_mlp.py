import math

import pytest
import torch

from charlm.data.splits import load_splits
from charlm.nets.loss import evaluate
from charlm.nets.mlp import MLP


@pytest.mark.parametrize(("V", "T", "C", "H"), [(27, 3, 10, 200), (4, 1, 1, 1)])
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
    with torch.inference_mode():
        torch.testing.assert_close(net(context), logits)


@pytest.mark.parametrize("sizes", [{}, {"n_hidden": 1000}, {"block_size": 8, "n_embd": 2}, {"n_hidden": 2}])
def test_the_default_begins_within_a_twentieth_of_a_nat_of_guessing(sizes):
    torch.manual_seed(0)
    net = MLP(27, **sizes)
    train = load_splits(block_size=net.block_size).train
    loss = evaluate(net, [train.gather(torch.arange(0, len(train), 10))]).loss
    assert loss == pytest.approx(math.log(27), abs=0.05)


@pytest.mark.parametrize("size", ["vocab_size", "block_size", "n_embd", "n_hidden"])
def test_a_size_below_1_and_an_unknown_init_are_refused(size):
    with pytest.raises(ValueError, match=f"{size} is 0; it must be at least 1"):
        MLP(**{size: 0})
    with pytest.raises(ValueError, match="init is 'notebok'; give 'default' or 'notebook'"):
        MLP(init="notebok")
