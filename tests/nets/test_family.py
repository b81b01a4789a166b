"""What holds for every net of the makemore family besides the bigram and the MLP, which have files of their own."""

import pytest
import torch
from torch.func import functional_call

from charlm.nets.bow import BoW
from charlm.nets.deepmlp import DeepMLP
from charlm.nets.ensemble import Ensemble
from charlm.nets.gru import GRU
from charlm.nets.lstm import LSTM
from charlm.nets.rnn import RNN
from charlm.nets.transformer import Transformer
from charlm.nets.wavenet import WaveNet

SMALL = {
    BoW: {"block_size": 9, "n_embd": 4, "n_hidden": 3},
    RNN: {"n_embd": 3, "n_hidden": 4},
    GRU: {"n_embd": 3, "n_hidden": 4, "n_layer": 2},
    LSTM: {"n_embd": 3, "n_hidden": 4},
    Ensemble: {"kind": "LSTM", "members": 2, "n_embd": 3, "n_hidden": 4},
    Transformer: {"block_size": 9, "n_layer": 2, "n_head": 2, "n_embd": 4},
}
WINDOWS = {
    DeepMLP: {"block_size": 4, "n_embd": 3, "n_hidden": 5, "n_layer": 2},
    WaveNet: {"block_size": 4, "n_embd": 3, "n_hidden": 5},
}
V = 6
of_names = pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.__name__)
of_windows = pytest.mark.parametrize("kind", WINDOWS, ids=lambda kind: kind.__name__)
of_all = pytest.mark.parametrize("kind", [*SMALL, *WINDOWS], ids=lambda kind: kind.__name__)


def make(kind, **changes):
    """A small net whose logits are far from equal, so that nothing is lost in rounding."""
    torch.manual_seed(0)
    net = kind(**{"vocab_size": V, **{**SMALL, **WINDOWS}[kind], **changes})
    with torch.no_grad():
        for single in getattr(net, "members", [net]):
            single.output.weight.normal_()
    return net


def names(batch=5, length=7):
    ids = torch.randint(1, V, (batch, length), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = 0
    return ids


@of_all
def test_names_in_a_logit_for_every_position_out_and_windows_in_one_row_out(kind):
    logits = make(kind)(names(5, 7 if kind in SMALL else 4))
    assert (logits.shape, logits.dtype) == ((5, 7, V) if kind in SMALL else (5, V), torch.float32)
    assert kind.takes == ("names" if kind in SMALL else "windows")


@of_names
def test_every_position_sees_all_characters_before_it_and_none_after_it(kind):
    net = make(kind).eval()
    before = net(names())
    for changed in range(1, 7):
        ids = names()
        ids[:, changed] = ids[:, changed] % (V - 1) + 1
        after = net(ids)
        assert torch.equal(after[:, :changed], before[:, :changed])
        assert not torch.allclose(after[:, changed:], before[:, changed:], atol=1e-3)
        assert ((after - before).abs().amax((0, 2))[changed:] > 0).all()


@of_windows
def test_every_character_of_the_window_counts(kind):
    net = make(kind).eval()
    before = net(names(5, 4))
    for changed in range(4):
        ids = names(5, 4)
        ids[:, changed] = ids[:, changed] % (V - 1) + 1
        assert ((net(ids) - before).abs().amax(1) > 1e-4).all()


@of_names
def test_step_by_step_the_logits_are_those_of_the_whole_also_of_names_chosen_from_the_state(kind):
    net = make(kind).eval()
    ids, chosen = names(), torch.tensor([3, 0])
    whole, state = net(ids), None
    for at in range(7):
        kept = torch.arange(5) if at < 4 else chosen
        state = tuple(held.index_select(1, kept) for held in state) if at == 4 else state
        logits, state = net.step(ids[kept, at], state)
        torch.testing.assert_close(logits, whole[kept, at], atol=1e-5, rtol=1e-5)


@of_all
def test_gradients_are_the_numerical_ones(kind):
    net = make(kind).double()
    length = 4
    ids = names(3, length)
    weights = {name: weight.detach().requires_grad_() for name, weight in net.named_parameters()}
    buffers = dict(net.named_buffers())

    def logits(*values):
        held = {name: buffer.clone() for name, buffer in buffers.items()}  # training moves a batch norm's
        return functional_call(net, ({**dict(zip(weights, values, strict=True)), **held}), (ids,))

    assert torch.autograd.gradcheck(logits, tuple(weights.values()), fast_mode=True)


@of_all
def test_the_first_loss_is_about_that_of_a_blind_guess(kind):
    torch.manual_seed(0)
    net = kind(vocab_size=27)
    ids = torch.randint(27, (64, net.block_size or 9))
    logits = net(ids).flatten(0, -2)
    loss = torch.nn.functional.cross_entropy(logits, torch.randint(27, (len(logits),)))
    assert loss.item() == pytest.approx(torch.tensor(27.0).log().item(), abs=0.05)


@pytest.mark.parametrize(("kind", "count"), [(WaveNet, 76_579), (Transformer, 207_680), (BoW, 12_827)])
def test_default_sizes(kind, count):
    """Of the course's WaveNet; the others by hand: tables, blocks of 12 C^2 + 13 C, and what reads the logits."""
    block = {"block_size": 16} if kind is BoW else {}
    assert sum(weight.numel() for weight in kind(vocab_size=27, **block).parameters()) == count


@of_all
def test_a_size_below_one_is_refused(kind):
    with pytest.raises(ValueError, match="n_embd is 0; it must be at least 1"):
        make(kind, n_embd=0)


@pytest.mark.parametrize("kind", [RNN, GRU, LSTM, Ensemble, Transformer, DeepMLP, WaveNet])
def test_units_are_dropped_in_training_alone(kind):
    net, ids = make(kind, dropout=0.5), names(5, 4)
    assert not torch.equal(net(ids), net(ids))
    net.eval()
    assert torch.equal(net(ids), net(ids))
    for no_share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match=r"dropout is \S+; give a share of 0 or more, below 1"):
            make(kind, dropout=no_share)


def test_heads_share_the_width():
    with pytest.raises(ValueError, match="`n_embd` is 4 and `n_head` is 3; `n_embd` must be a multiple of `n_head`"):
        make(Transformer, n_head=3)


@pytest.mark.parametrize("size", [3, 4, 7, 8])
def test_wavenet_reads_a_label_beside_a_power_of_two_of_characters_or_as_one_of_them(size):
    net = make(WaveNet, block_size=size, n_labels=2).eval()
    f, m = (net(torch.cat([torch.full((5, 1), V + label), names(5, size)], dim=1)) for label in range(2))
    assert f.shape == (5, V)
    assert ((f - m).abs().amax(1) > 1e-4).all()


@pytest.mark.parametrize("size", [1, 3, 12])
def test_a_wavenet_fuses_pairs(size):
    with pytest.raises(ValueError, match=f"block_size is {size}; pairs are fused, so it must be a power of two"):
        make(WaveNet, block_size=size)


def test_an_ensemble_averages_probabilities():
    net = make(Ensemble).eval()
    of_each = torch.stack([member(names()).softmax(-1) for member in net.members])
    assert not torch.allclose(of_each[0], of_each[1], atol=0.05)
    torch.testing.assert_close(net(names()).exp(), of_each.mean(0))


def test_an_ensemble_is_of_a_known_kind():
    with pytest.raises(ValueError, match="kind is 'CNN'; give one of RNN, GRU, LSTM"):
        Ensemble(kind="CNN")
    with pytest.raises(ValueError, match="members is 0; it must be at least 1"):
        Ensemble(members=0)
