import math
import string

import pytest
import torch

from charlm.cli.commands.sample import sample
from charlm.data.splits import load_splits
from charlm.inference.sampling import sample_names
from charlm.nets.transformer import Transformer


def lines(capsys):
    return capsys.readouterr().out.splitlines()


def learnt_by_heart(run, name):
    """Make the run's bigram give one name only; its letters must differ."""
    path = run / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    weights = torch.zeros_like(content["state_dict"]["net.W"])
    ids = [0, *[ord(ch) - ord("a") + 1 for ch in name], 0]
    weights[ids[:-1], ids[1:]] = 100.0
    content["state_dict"]["net.W"] = weights
    torch.save(content, path)


def test_it_prints_one_name_a_line_and_nothing_else(write_run, capsys):
    write_run()
    sample(n=7)
    first = lines(capsys)
    assert len(first) == 7
    assert all(name.isalpha() for name in first)
    sample(n=7, seed=0)
    assert lines(capsys) == first


def test_marks_come_after_a_tab(write_run, capsys):
    learnt_by_heart(write_run("Bigram", data={"split": [1.0, 0.0, 0.0]}), "mia")
    sample(n=2, mark=True)
    assert lines(capsys) == ["mia\tin train"] * 2


def test_names_of_the_other_splits_are_new(write_run, names_file, capsys):
    run = write_run("Bigram")
    splits = load_splits(str(names_file), alphabet="abcdefghijklmnopqrstuvwxyz", split=(0.6, 0.2, 0.2))
    held_out = next(name for name in splits.names("val") + splits.names("test") if len(set(name)) == len(name))
    learnt_by_heart(run, held_out)
    sample(n=1, mark=True, new_only=True)
    assert lines(capsys) == [f"{held_out}\tnew"]


def test_new_only_gives_up_where_the_net_knows_nothing_else(write_run):
    learnt_by_heart(write_run("Bigram", data={"split": [1.0, 0.0, 0.0]}), "mia")
    with pytest.raises(ValueError, match=r"only 0 of \d+ drawn names are outside the 16 excluded ones"):
        sample(n=1, new_only=True)


def test_a_decomposed_prefix_is_composed_as_the_names_are(write_run, capsys):
    write_run("Bigram", alphabet="zoé", data={"lowercase": True})
    sample(n=2, prefix="ZE\u0301")
    assert all(name.startswith("zé") for name in lines(capsys))


@pytest.mark.parametrize(
    ("alphabet", "message"),
    [
        ("abc", r"the prefix 'aя' has 'я' \(U\+044F\) at position 1, outside the alphabet 'abc' of the model; correct"),
        (
            "".join(map(chr, range(0x4E00, 0x4FF4))),
            r"'a' \(U\+0061\) at position 0, .* '一丁丂.{37}'\.\.\. \(500 characters\) of the model; correct it",
        ),
    ],
)
def test_a_prefix_with_an_out_of_vocabulary_character_is_refused(alphabet, message, write_run):
    write_run("Bigram", alphabet=alphabet)
    with pytest.raises(ValueError, match=message):
        sample(prefix="aя")


def sure_of(run, after):
    """Set the run's bigram: the logits after each id, of the boundary (0) or of letters from a (1) on."""
    path = run / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    weights = torch.full_like(content["state_dict"]["net.W"], -100.0)
    for before, chances in after.items():
        for follows, chance in chances.items():
            weights[before, follows] = math.log(chance)
    content["state_dict"]["net.W"] = weights
    torch.save(content, path)


def test_log_probabilities_are_the_models_own_whatever_is_drawn_from(write_run, capsys):
    """P(ab) = 1/2 * 1/4 = 1/8: a or b first, after a a b or the end; a cut "b" could have ended with 1/10."""
    run = write_run("Bigram")
    sure_of(run, {0: {1: 0.5, 2: 0.5}, 1: {0: 0.75, 2: 0.25}, 2: {0: 0.1, 3: 0.9}, 3: {3: 1.0}})
    sample(n=40, log_prob=True, max_length=2)
    assert set(lines(capsys)) == {
        f"a\t{math.log(0.5 * 0.75):.2f}",
        f"ab\t{math.log(0.5 * 0.25 * 0.1):.2f}",
        f"b\t{math.log(0.5 * 0.1):.2f}",
        f"bc\t{math.log(0.5 * 0.9) - 100:.2f}",
    }
    sample(n=40, log_prob=True, max_length=2, top_p=0.5, prefix="a", temperature=0.5, top_k=1)
    assert set(lines(capsys)) == {f"a\t{math.log(0.5 * 0.75):.2f}"}


def test_a_name_that_fills_all_positions_of_the_net_has_no_log_probability(write_run, capsys):
    path = write_run("Bigram") / "checkpoints" / "best.ckpt"
    sizes = {"vocab_size": 27, "block_size": 4, "n_layer": 1, "n_head": 1, "n_embd": 4}
    weights = {f"net.{name}": values for name, values in Transformer(**sizes).state_dict().items()}
    entry = {"format": 1, "net": "Transformer", "net_args": sizes, "alphabet": string.ascii_lowercase}
    torch.save({**torch.load(path, weights_only=True), "state_dict": weights, "charlm": entry}, path)
    sample(n=300, log_prob=True)
    shown = [line.split("\t") for line in lines(capsys)]
    lengths = {len(name) for name, _ in shown}
    assert min(lengths) < max(lengths) == 4
    assert all((logp == "-") == (len(name) == 4) for name, logp in shown)
    names = [name for name, _ in shown]
    sample(n=300)
    assert lines(capsys) == names


def test_distinct_names_are_drawn_once(write_run, capsys):
    sure_of(write_run("Bigram"), {0: {1: 0.9, 2: 0.1}, 1: {0: 1.0}, 2: {0: 1.0}})
    sample(n=2, distinct=True)
    assert sorted(lines(capsys)) == ["a", "b"]
    with pytest.raises(ValueError, match=r"only 2 of \d+ drawn names are distinct.* 3 were asked for"):
        sample(n=3, distinct=True)


@pytest.mark.parametrize(("data", "longest"), [({}, 64), ({"max_length": 9}, 9), ({"max_length": 100}, 100)])
def test_names_are_as_long_as_training_accepted_them(data, longest, write_run, capsys):
    sure_of(write_run("Bigram", data=data), {0: {1: 1.0}, 1: {1: 1.0}})
    sample(n=1)
    assert lines(capsys) == ["a" * longest]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.unlink(), "cannot be read: there is no names file"),
        (lambda file: file.write_text("emma\nava\nmia\nlia\nlea\nella\n"), "has changed since .* was trained on it"),
    ],
)
def test_without_the_training_names_there_are_no_marks(spoil, reason, write_run, names_file, capsys):
    write_run()
    spoil(names_file)
    with pytest.raises(ValueError, match=f"{reason}.*; or sample without --new-only"):
        sample(n=2, new_only=True)
    sample(n=2, mark=True)
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert "\t" not in shown.out
    assert shown.err.startswith("names are not marked: ")
    sample(n=2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"alphabet": None}, "has another alphabet than"),
        ({"split": 3}, "cannot be read"),
        ({"split": [0.5, 0.5]}, "cannot be read: split is"),
        ({"split_seed": "x"}, "cannot be read"),
    ],
)
def test_settings_that_do_not_give_the_training_names_are_refused(data, reason, write_run):
    write_run(data=data)
    with pytest.raises(ValueError, match=reason):
        sample(new_only=True)


def test_it_draws_what_the_library_draws(write_run, capsys):
    from charlm.runs.checkpoint import load_checkpoint

    loaded = load_checkpoint(write_run())
    sample(n=5, seed=3)
    assert lines(capsys) == sample_names(loaded.net, loaded.tokenizer, 5, seed=3, max_length=64)


def test_an_address_in_a_checkpoint_is_refused(write_run):
    write_run(data={"path": "https://example.org/names.txt"})
    with pytest.raises(ValueError, match=r"names\.txt is an address.*; or sample without --new-only"):
        sample(new_only=True)
