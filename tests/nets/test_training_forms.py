"""The faster training of the nets of whole names gives what torch's layers give."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from charlm.data.sequences import build_sequences
from charlm.nets.gru import GRU
from charlm.nets.loss import cross_entropy
from charlm.nets.lstm import LSTM
from charlm.nets.parts.dropout import Dropout
from charlm.nets.parts.fast_attention import attention
from charlm.nets.parts.packing import Packing
from charlm.nets.rnn import RNN
from charlm.nets.transformer import Transformer
from charlm.tokenizer import CharTokenizer

NAMES = ["abcab", "bcab", "cab", "bca", "a"]


@pytest.mark.parametrize("order", [1, -1], ids=["longest first", "longest last"])
@pytest.mark.parametrize("kind", [RNN, GRU, LSTM, Transformer])
def test_loss_and_gradients_are_those_of_eval_mode_with_its_padding(kind, order):
    torch.manual_seed(0)
    net = kind(vocab_size=4, n_layer=2 if kind is Transformer else 1).double()
    names, target = build_sequences(NAMES[::order], CharTokenizer("abc"))
    found = []
    for training in (True, False):
        net.train(training).zero_grad()
        loss = cross_entropy(net(names), target)
        loss.backward()
        found.append([loss.detach(), *(weight.grad for weight in net.parameters())])
    torch.testing.assert_close(*found)


def test_attention_with_dropout_has_the_numerical_gradients():
    packing = Packing(build_sequences(NAMES, CharTokenizer("abc"))[0])
    parts = torch.randn(len(packing.inside), 3 * 4, dtype=torch.float64, requires_grad=True)

    def drop_the_same(parts):
        torch.manual_seed(0)
        return attention(parts, packing, n_head=2, dropout=0.4)

    assert torch.autograd.gradcheck(drop_the_same, parts)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_that_share_is_dropped_and_the_mean_stays(share):
    torch.manual_seed(0)
    dropped = Dropout(share)(torch.ones(1000, 333))
    assert (dropped == 0).double().mean().item() == pytest.approx(share, abs=0.005)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - share)], rel=1e-4)


@pytest.mark.parametrize("kind", [GRU, Transformer])
def test_the_gradients_may_be_computed_under_autocast_and_are_not_silently_differentiated_again(kind):
    net, (names, target) = kind(vocab_size=4), build_sequences(NAMES, CharTokenizer("abc"))
    with torch.autocast("cpu", torch.bfloat16):
        cross_entropy(net(names), target).backward()
    weights = list(net.parameters())
    with pytest.raises(RuntimeError, match="no second derivatives; take the loss from the net in eval mode"):
        torch.autograd.grad(cross_entropy(net(names), target), weights, create_graph=True)
    with sdpa_kernel(SDPBackend.MATH):
        slopes = torch.autograd.grad(cross_entropy(net.eval()(names), target), weights, create_graph=True)
        sum(slope.square().sum() for slope in slopes).backward()
