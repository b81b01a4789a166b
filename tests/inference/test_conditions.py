"""Names that meet conditions: the distribution is the model's own among them, and rare ones are found."""

import itertools
import math
import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charlm.data.contexts import build_contexts
from charlm.inference import candidates
from charlm.inference.automaton import automaton_of
from charlm.inference.candidates import Candidates
from charlm.inference.character_sampler import CharacterSampler
from charlm.inference.conditions import Conditions
from charlm.inference.sampling import draw_names, sample_names
from charlm.inference.scoring import score_names
from charlm.nets.gru import GRU
from charlm.nets.mlp import MLP
from charlm.nets.ngram import NGram
from charlm.tokenizer import CharTokenizer

ABC = CharTokenizer("abc")
NAMES = ["".join(letters) for length in range(1, 6) for letters in itertools.product("abc", repeat=length)]

ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\.", "^", "$"])
REPEATED = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{,1}", "{1,}", "*?"])
REGEXES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(st.tuples(inner, REPEATED), min_size=1, max_size=3).map(
            lambda parts: "".join(part if part in "^$" else f"(?:{part}){often}" for part, often in parts)
        )
        | st.tuples(inner, inner).map("|".join)
    ),
    max_leaves=6,
)


@given(st.lists(REGEXES, max_size=2))
def test_the_automaton_accepts_what_a_search_finds(patterns):
    automaton = automaton_of(patterns, ABC)
    assert automaton is not None
    for name in NAMES[:120]:
        found = all(re.search(pattern, name) for pattern in patterns)
        assert automaton.accepts[automaton.after(ABC.encode(name))] == found


@pytest.mark.parametrize("pattern", ["(?i)a", "a(?=b)", r"\ba", r"(a)\1", "a++", "(?<!a)b", "a{600}"])
def test_an_expression_that_only_a_search_can_decide_has_no_automaton(pattern):
    assert automaton_of([pattern], ABC) is None


def wild(net):
    """A net with a distribution of its own, of short names."""
    with torch.no_grad():
        for weights in net.parameters():
            weights.mul_(1.5)
        net.output.weight.normal_(std=0.7, generator=torch.Generator().manual_seed(1))
    return net


def counted():
    net = NGram(4, block_size=2)
    net.count(*build_contexts(["ab", "abc", "cab", "caab", "b", "bb", "acb"], ABC, 2))
    return net


@pytest.fixture(params=["mlp", "ngram", "gru"])
def net(request):
    torch.manual_seed(1)
    if request.param == "ngram":
        return counted()
    small = {"vocab_size": 4, "n_embd": 4, "n_hidden": 8}
    return wild(MLP(block_size=2, **small) if request.param == "mlp" else GRU(**small))


@pytest.fixture
def look_ahead(monkeypatch):
    """Look ahead early and always, not only for rare names."""
    for name, value in {"_PLAIN": 1024, "_ENOUGH": 2, "_RARE": 2, "_FASTER": 0}.items():
        monkeypatch.setattr(candidates, name, value)


CONDITIONS = [
    {},
    {"suffix": "ab"},
    {"contains": "cc"},
    {"match": "^[ab].*c$"},
    {"min_length": 4},
    {"prefix": "ab", "contains": "aa", "min_length": 3},
]


def deviation(net, conditions, n):
    """How far n names are from the net's distribution among all names that meet the conditions.

    It is Pearson's chi-square as a number of standard deviations (Wilson and Hilferty 1931); names that are expected
    less than five times count as one.
    """
    conditions = {"max_length": 5, **conditions}
    allowed = [name for name in NAMES if Conditions(**conditions).are_met(name)]
    probability = torch.tensor([-score.total for score in score_names(net, ABC, allowed)]).double().softmax(0)
    drawn = Counter(sample_names(net, ABC, n, **conditions))
    assert set(drawn) <= set(allowed)
    observed = torch.tensor([drawn[name] for name in allowed]).double()
    expected = probability * n
    rare = expected < 5
    if rare.any():
        expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
        observed = torch.cat([observed[~rare], observed[rare].sum()[None]])
    freedom = len(expected) - 1
    chi_square = float(((observed - expected) ** 2 / expected).sum())
    return ((chi_square / freedom) ** (1 / 3) - 1 + 2 / (9 * freedom)) / math.sqrt(2 / (9 * freedom))


@pytest.mark.parametrize("conditions", CONDITIONS, ids=str)
@pytest.mark.usefixtures("look_ahead")
def test_with_a_look_ahead_the_distribution_is_the_nets_own(net, conditions):
    assert deviation(net, conditions, 8000) < 3.5


@pytest.mark.parametrize("conditions", [{}, {"match": "a(?=b)"}, {"min_length": 3}], ids=str)
def test_without_a_look_ahead_too(net, conditions):
    assert deviation(net, conditions, 2000) < 3.5


@pytest.mark.usefixtures("look_ahead")
def test_the_look_ahead_follows_temperature_and_top_k():
    net = counted()
    options = {"temperature": 0.7, "top_k": 2, "max_length": 4}
    plain = Counter(name for name in sample_names(net, ABC, 20_000, **options) if name.endswith("b"))
    steered = Counter(sample_names(net, ABC, 20_000, suffix="b", **options))
    assert plain.keys() == steered.keys()
    for name, times in plain.items():
        assert steered[name] / 20_000 == pytest.approx(times / plain.total(), abs=0.015)


def test_rare_names_are_found_with_few_candidates():
    """The net sees two characters, so its look-ahead is exact and nearly every candidate is kept."""
    drawn = Candidates(counted(), ABC, Conditions(contains="cccccccc"), CharacterSampler(), seed=0, cut=64)
    found = [name for names in itertools.islice(drawn.batches(), 20) for name in names if name]
    assert drawn.share < 1e-5
    assert all("cccccccc" in name for name in found)
    assert len(found) >= 0.99 * (drawn.drawn - candidates._PLAIN) > 1000


def test_rare_names_are_found_with_a_dozen_labels_too():
    conditions = Conditions(contains="cccccccc")
    drawn = draw_names([counted()] * 12, ABC, 20, conditions, CharacterSampler(), shares=[1.0] * 12, seed=0)
    assert all("cccccccc" in name for part in drawn for name, _ in part)
    never = draw_names([counted()] * 2, ABC, 1, Conditions(match="^(?=b)a"), CharacterSampler(), shares=[1, 1], seed=0)
    with pytest.raises(ValueError, match=r"only 0 of [\d,]+ .*; give one `label`, ask for fewer "):
        list(never)


@pytest.mark.parametrize("conditions", [{}, {"match": "a.*b$"}, {"contains": "ccc", "distinct": True}], ids=str)
def test_fewer_names_are_the_beginning_of_more(net, conditions, monkeypatch):
    """Also where the look-ahead begins between them, and whatever is drawn side by side."""
    many = sample_names(net.double(), ABC, 60, seed=5, **conditions)
    for n in (1, 3, 59):
        assert sample_names(net, ABC, n, seed=5, **conditions) == many[:n]
    if not conditions:
        monkeypatch.setattr(candidates, "_FIRST_BATCHES", (7, 13))
        monkeypatch.setattr("charlm.inference.decoding.WindowDecoder.max_rows", 11)
        assert sample_names(net, ABC, 60, seed=5) == many


def test_what_cannot_be_had_ends_with_a_sentence(net):
    with pytest.raises(ValueError, match=r"no name of at most 3 characters over the model's alphabet meets .*'aaaa'"):
        sample_names(net, ABC, 1, contains="aaaa", max_length=3)
    with pytest.raises(ValueError, match=r"only 1 of [\d,]+ .*\(about 1 of [\d,]+ meets the conditions\)"):
        sample_names(net, ABC, 2, match="^ccca$", distinct=True)
