import math
import string

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.contexts import build_contexts
from charlm.data.sequences import build_sequences
from charlm.inference import candidates
from charlm.inference.character_sampler import CharacterSampler, draw
from charlm.inference.sampling import sample_names
from charlm.inference.scoring import NameScore, score_names
from charlm.nets.bigram import Bigram
from charlm.nets.bow import BoW
from charlm.nets.counts import CountBigram
from charlm.nets.deepmlp import DeepMLP
from charlm.nets.ensemble import Ensemble
from charlm.nets.gru import GRU
from charlm.nets.interface import takes_names
from charlm.nets.loss import evaluate
from charlm.nets.lstm import LSTM
from charlm.nets.mlp import MLP
from charlm.nets.rnn import RNN
from charlm.nets.transformer import Transformer
from charlm.nets.wavenet import WaveNet
from charlm.tokenizer import CharTokenizer

LETTERS = CharTokenizer(string.ascii_lowercase)
AB = CharTokenizer("ab")
NEVER = -1e9


def table(rows):
    """A bigram whose probabilities are given row by row: boundary, a, b."""
    net = Bigram(len(rows))
    with torch.no_grad():
        net.W.copy_(torch.tensor(rows).log().clamp(min=NEVER))
    return net


def counted(names, tokenizer=LETTERS, k=1.0):
    return CountBigram.from_contexts(build_contexts(names, tokenizer, 1), tokenizer.vocab_size, k)


OF_NAMES = {"bow": BoW, "rnn": RNN, "gru": GRU, "lstm": LSTM, "transformer": Transformer, "ensemble": Ensemble}
NETS = {"bigram": lambda: Bigram(27), "mlp": lambda: MLP(27), "counts": lambda: counted(["emma", "olivia", "ava"])}
NETS |= {"deep mlp": DeepMLP, "wavenet": WaveNet, **OF_NAMES}


@pytest.fixture(params=NETS)
def net(request):
    return NETS[request.param]()


@pytest.mark.parametrize("prefix", ["", "jo", "josephine"])
def test_any_net_gives_names_over_the_alphabet_with_the_prefix_as_the_seed_decides(net, prefix):
    names = sample_names(net, LETTERS, 100, prefix=prefix, seed=3)
    assert len(names) == 100
    assert all(1 <= len(name) <= 64 and set(name) <= set(LETTERS.alphabet) for name in names)
    assert all(name.startswith(prefix) for name in names)
    assert names == sample_names(net, LETTERS, 100, prefix=prefix, seed=3)
    assert names != sample_names(net, LETTERS, 100, prefix=prefix, seed=4)


def test_sampling_and_scoring_leave_the_global_generator_and_the_mode_of_every_part_alone():
    net = MLP(27)
    net.train()
    net.embedding.eval()  # a frozen part
    before = torch.get_rng_state()
    sample_names(net, LETTERS, 20)
    score_names(net, LETTERS, ["emma"])
    assert torch.equal(torch.get_rng_state(), before)
    assert (net.training, net.embedding.training, net.hidden.training) == (True, False, True)
    with torch.no_grad():
        net.output.bias.fill_(math.nan)
    with pytest.raises(ValueError, match="the net gives no character a probability: its logits are NaN or infinite"):
        sample_names(net, LETTERS, 3)
    assert (net.training, net.embedding.training, net.hidden.training) == (True, False, True), "after an error, too"


def test_temperature_two_takes_the_root_of_the_probabilities():
    net = table([[0.0, 0.1, 0.9], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    share = sample_names(net, AB, 20_000, temperature=2.0).count("a") / 20_000
    assert share == pytest.approx(math.sqrt(0.1) / (math.sqrt(0.1) + math.sqrt(0.9)), abs=0.01)


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"temperature": 1e-12}, {"temperature": 5e-324}, {"top_p": 1e-9}])
def test_the_likeliest_name_comes_alone(settings):
    net = table([[0.0, 0.4, 0.6], [0.4, 0.3, 0.3], [0.4, 0.6, 0.0]])
    assert set(sample_names(net, AB, 100, **settings)) == {"ba"}


class FullDecoder:
    """Plain decoding for a net of names: it reads all characters again for every new one."""

    max_rows = 1 << 10

    def __init__(self, net, rows):
        self.net, self.rows = net, rows

    def start(self, prefix):
        self.names = torch.tensor([0, *prefix]).repeat(self.rows, 1)
        return self.net(self.names)[:, -1]

    def step(self, ids, unfinished):
        self.names = torch.cat([self.names, ids[:, None]], dim=1)[unfinished]
        return self.net(self.names)[:, -1]


@pytest.mark.parametrize("kind", OF_NAMES.values(), ids=OF_NAMES)
@pytest.mark.parametrize(
    "options",
    [{}, {"prefix": "ma"}, {"temperature": 0.7, "top_k": 9}, {"top_p": 0.95, "cut": 12}, {"distinct": True}],
    ids=str,
)
def test_incremental_decoding_gives_the_names_of_plain_decoding(kind, options, monkeypatch):
    torch.manual_seed(0)
    net = kind(27).double()  # so that no draw falls between what the two ways round differently
    with torch.no_grad():
        for single in getattr(net, "members", [net]):
            single.output.weight.normal_(std=0.3)
            if single.output.bias is not None:
                single.output.bias[0] = 2.0
    monkeypatch.setattr(candidates, "_FIRST_BATCHES", (32, 64))
    options = {"cut": 20, **options}
    by_state = sample_names(net, LETTERS, 70, **options)
    monkeypatch.setattr(candidates, "decoder_for", lambda net: FullDecoder)
    assert sample_names(net, LETTERS, 70, **options) == by_state
    assert len(set(map(len, by_state))) > 1, "names of one length would not show whether the right rows go on"


@given(
    st.lists(st.floats(-20, 20), min_size=2, max_size=12),
    st.floats(1e-6, 1, exclude_min=True),
    st.integers(1, 12),
    st.floats(0.1, 5),
)
def test_what_is_drawn_is_among_the_allowed(logits, top_p, top_k, temperature):
    """Against a plain list: sorted, cut at k, then cut where the share is reached."""
    choice = CharacterSampler(temperature, top_k, top_p)
    uniforms = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = set(draw(choice.weights(torch.tensor(logits).repeat(50, 1)), uniforms).tolist())
    weights = [math.exp((logit - max(logits)) / temperature) for logit in torch.tensor(logits).tolist()]
    order = sorted(range(len(logits)), key=lambda i: -weights[i])[:top_k]
    total, allowed, had = sum(weights[i] for i in order), set(), 0.0
    for i in order:
        if had < top_p * total * (1 + 1e-5):
            allowed |= {j for j in range(len(logits)) if math.isclose(weights[j], weights[i], rel_tol=1e-5)}
        had += weights[i]
    assert drawn <= allowed


def test_distinct_names_are_the_first_of_each_kind():
    net = table([[0.0, 0.5, 0.5], [0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    names = sample_names(net, AB, 200, distinct=True)
    assert len(set(names)) == len(names) == 200
    plain = list(dict.fromkeys(sample_names(net, AB, 200)))
    assert names[: len(plain)] == plain


def test_distinct_names_may_run_out():
    net = table([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert sorted(sample_names(net, AB, 2, distinct=True)) == ["a", "b"]
    with pytest.raises(ValueError, match=r"only 2 of [\d,]+ drawn names are distinct, and 3 were .*; ask for fewer"):
        sample_names(net, AB, 3, distinct=True)
    with pytest.raises(ValueError, match=r"only 1 of [\d,]+ .* are outside the 1 excluded ones and are distinct"):
        sample_names(net, AB, 2, distinct=True, exclude=["a"])


def test_a_prefix_that_leaves_no_room_in_a_transformer_is_refused():
    net = Transformer(27, block_size=4)
    assert all(name.startswith("abc") and len(name) <= 4 for name in sample_names(net, LETTERS, 20, prefix="abc"))
    with pytest.raises(ValueError, match="the prefix 'abcd' has 4 characters, and names are cut at 4"):
        sample_names(net, LETTERS, 1, prefix="abcd")


def test_ids_without_a_character_are_never_drawn():
    net = Bigram(27)  # 27 rows over 2 letters, as in the course's notebooks
    with torch.no_grad():
        net.W[:, 3:] = 50.0
    assert all(set(name) <= {"a", "b"} for name in sample_names(net, AB, 500))


def test_a_count_table_without_smoothing_says_where_it_knows_nothing():
    net = counted(["ab"], CharTokenizer("abc"), k=0)
    assert sample_names(net, CharTokenizer("abc"), 3) == ["ab"] * 3
    with pytest.raises(ValueError, match="a count table that needs k > 0"):
        sample_names(net, CharTokenizer("abc"), 3, prefix="c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n is 0; ask for at least 1 name"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be a number above 0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"top_k": 0}, "top_k is 0; give 1 or more"),
        *(({"top_p": share}, r"top_p is \S+; give a share .* above 0, up to 1") for share in (0.0, 1.01, math.nan)),
        ({"seed": 2**64}, "seed is 18446744073709551616; give a whole number of at most 64 bits"),
        ({"max_length": 0}, "min_length is 1 and `max_length` is 0; they must be at least 1"),
        ({"min_length": 5, "max_length": 4}, "`max_length` not below `min_length`"),
        ({"prefix": "abc", "max_length": 2}, "the prefix 'abc' has 3 characters"),
        ({"match": "(ab"}, r"match is '\(ab', which is no regular expression: missing \)"),
        ({"match": f"a{{{10**20}}}"}, r"which is no regular expression: the repetition number is too large"),
        ({"suffix": "é"}, "no name of at most 64 characters over the model's alphabet meets .*: `suffix` 'é'"),
        ({"prefix": "jöe"}, "'ö' at position 1, outside the alphabet"),
    ],
)
def test_arguments_outside_their_range_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_names(Bigram(27), LETTERS, **{"n": 5, **arguments})


def test_scores_by_hand():
    net = table([[0.0, 0.25, 0.75], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    first, second = score_names(net, AB, ["aa", "b"])
    assert first == NameScore("aa", pytest.approx([math.log(4), math.log(2), math.log(2)]))
    assert second.nats == pytest.approx([-math.log(0.75), 0.0], abs=1e-6)


def test_scores_average_to_the_loss(net):
    names = ["emma", "olivia", "ava", "emma", "x"]
    scores = score_names(net, LETTERS, names)
    assert [score.name for score in scores] == names
    whole = takes_names(net)
    batch = build_sequences(names, LETTERS) if whole else build_contexts(names, LETTERS, net.block_size)
    loss = evaluate(net, [batch]).loss
    assert sum(s.total for s in scores) / sum(len(s.nats) for s in scores) == pytest.approx(loss)


def test_temperature_comes_before_top_p():
    """At temperature 2 the end after a has sqrt(0.81) / (sqrt(0.81) + sqrt(0.09) + sqrt(0.10)) = 0.594 only."""
    net = table([[0.0, 1.0, 0.0], [0.81, 0.09, 0.10], [1.0, 0.0, 0.0]])
    assert set(sample_names(net, AB, 100, top_p=0.7)) == {"a"}
    assert set(sample_names(net, AB, 100, top_p=0.7, temperature=2.0)) == {"a", "ab"}


def test_top_p_takes_the_fewest_characters_that_have_that_share():
    net = table([[0.0, 0.4, 0.6], [0.5, 0.3, 0.2], [0.7, 0.2, 0.1]])
    firsts = [{name[0] for name in sample_names(net, AB, 300, top_p=share)} for share in (0.59, 0.61)]
    assert firsts == [{"b"}, {"a", "b"}]
