import math
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from charlm.cli.commands.compare_counts import compare_counts
from charlm.data.sequences import Sequences
from charlm.data.splits import load_splits
from charlm.nets.counts import CountBigram
from charlm.nets.loss import evaluate
from charlm.nets.ngram import NGram
from charlm.runs.load_checkpoint import load_checkpoint

LETTERS = "abceghilmnoprstuvy"  # of the names file
SIZE = len(LETTERS) + 1
PNG = b"\x89PNG\r\n"


@pytest.fixture
def run(write_run):
    return write_run("Bigram", alphabet=LETTERS)


def splits_of(names_file):
    return load_splits(str(names_file), alphabet=LETTERS, split=(0.6, 0.2, 0.2))


def losses_of(net, contexts):
    """To four decimals, of windows or whole names."""
    batch = Sequences.of_contexts(contexts) if net.takes == "names" else contexts.with_block_size(net.block_size)
    return f"{evaluate(net, [batch.tensors()]).loss:.4f}"


@pytest.mark.parametrize(("name", "peer"), [("Bigram", "bigrams"), ("MLP", "5-grams"), ("GRU", "5-grams")])
def test_the_losses_stand_side_by_side_for_each_split(name, peer, write_run, names_file, capsys):
    run = write_run(name, alphabet=LETTERS)
    compare_counts()
    lines = capsys.readouterr().out.splitlines()
    splits = splits_of(names_file)
    counted = CountBigram.from_contexts(splits.train, SIZE, k=1.0)
    ngrams = NGram.from_contexts(splits.train.with_block_size(4), SIZE)
    assert lines[0].split() == ["split", "characters", "bigrams", "(k=1)", "5-grams", name, name, "-", peer]
    for line, part in zip(lines[1:4], ("train", "val", "test"), strict=True):
        contexts = getattr(splits, part)
        losses = [losses_of(net, contexts) for net in (counted, ngrams, load_checkpoint(run).net)]
        *shown, difference = line.split()
        assert shown == [part, str(len(contexts)), *losses]
        assert float(difference) == pytest.approx(float(losses[2]) - float(losses[peer == "5-grams"]), abs=1.1e-4)
    assert len(lines) == (6 if name == "Bigram" else 4)


def test_several_models_and_counting_are_ordered_by_val_in_one_table_and_one_picture(write_run, names_file, capsys):
    runs = [write_run(name, f"00{at}-{name}", alphabet=LETTERS) for at, name in enumerate(["Bigram", "MLP", "GRU"], 1)]
    compare_counts(runs=["1", "2", "3"])
    head, *rows, last = capsys.readouterr().out.splitlines()
    splits = splits_of(names_file)
    ngrams = NGram.from_contexts(splits.train.with_block_size(4), SIZE)
    nets = {"5-grams": ngrams, **{run.name: load_checkpoint(run).net for run in runs}}
    shown = {row.split()[0]: row.split()[-3:] for row in rows}
    for name, net in nets.items():
        assert shown[name] == [losses_of(net, part) for part in (splits.train, splits.val, splits.test)]
    assert (head.split(), len(rows), last) == (["train", "val", "test"], 5, "picture: counts.png")
    vals = [float(row.split()[-2]) for row in rows]
    assert vals == sorted(vals, reverse=True)
    assert Path("counts.png").read_bytes().startswith(PNG)
    torch.save(torch.load(runs[0] / "checkpoints/best.ckpt"), runs[0] / "checkpoints/last.ckpt")
    compare_counts(runs=["1", "001-Bigram", str(runs[0] / "checkpoints/last.ckpt")])  # one run, two of its checkpoints
    assert len(capsys.readouterr().out.splitlines()) == 1 + 4 + 1
    write_run("MLP", "004-other", data={"split_seed": 7}, alphabet=LETTERS)
    with pytest.raises(ValueError, match=r"001-Bigram.* and .*004-other.* were trained on different names, or split"):
        compare_counts(runs=["1", "4"])
    with pytest.raises(ValueError, match="--checkpoint is for a single run; name all runs without it"):
        compare_counts(checkpoint="1", runs=["1", "2"])


def test_the_largest_difference_is_named(run, names_file, capsys):
    path = run / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    counted = CountBigram.from_contexts(splits_of(names_file).train, SIZE, k=1.0)
    weights = counted.probabilities.log().float()
    weights[1, 0] += 1.0  # a, then the end
    content["state_dict"]["net.W"] = weights
    torch.save(content, path)
    compare_counts()
    p = counted.probabilities[1, 0].item()
    q = p * math.e / (1 + p * (math.e - 1))
    assert (
        f"largest difference: {q - p:.4f} for a., {p:.4f} by counting and {q:.4f} neural;"
        f" a comes {int(counted.counts[1].sum())} times in train"
    ) in capsys.readouterr().out


def test_the_picture_goes_where_it_is_wanted_or_into_the_run_and_its_tensorboard_log(run, tmp_path, capsys):
    compare_counts(out=str(tmp_path / "other.png"))
    assert (tmp_path / "other.png").read_bytes().startswith(PNG)
    *out, last = capsys.readouterr().out.splitlines()
    assert (last, "TensorBoard" in "".join(out)) == (f"heat map: {tmp_path / 'other.png'}", False)
    with SummaryWriter(str(run)) as writer:
        writer.add_image("bigram", torch.zeros(3, 2, 2), 199)  # that of `charlm fit`
    compare_counts()
    assert (run / "bigram_counts.png").read_bytes().startswith(PNG)
    events = EventAccumulator(str(run)).Reload()
    assert [image.step for image in events.Images("bigram_counts")] == [12]
    assert [image.step for image in events.Images("bigram")] == [199]
    assert "TensorBoard: picture bigram_counts of" in capsys.readouterr().out


def test_a_picture_of_another_net_or_format_is_refused(run, write_run):
    with pytest.raises(ValueError, match=r"--out is 'picture.jpg'; give a file that ends in .png"):
        compare_counts(out="picture.jpg")
    with pytest.raises(ValueError, match=r"--out is for the tables of a Bigram, and \S+ holds another net"):
        compare_counts(checkpoint=str(write_run("MLP", version="version_1")), out="picture.png")
