"""Lists of the user's own, in any script: from `charlm fit` to names, drawn and scored, as they are typed."""

# letters of other scripts look like Latin ones

import itertools
import re
import shutil
import unicodedata
from collections import namedtuple
from pathlib import Path

import lightning.pytorch  # noqa: F401  # its log handlers are made on import, and are not to hold a test's stderr
import pytest

from charlm.cli.main import main
from charlm.data.contexts import build_contexts
from charlm.data.sequences import build_sequences
from charlm.nets.interface import takes_names
from charlm.nets.loss import evaluate
from charlm.runs.load_checkpoint import load_checkpoint

# of the names, one part of each text in all combinations; how some names begin, composed; a name whose last character
# is out of the vocabulary; and a model of windows or of whole names
Example = namedtuple("Example", "parts prefix strange model")


def names_of(example):
    """60 to 200 names, those with accents as they stand below, some of them decomposed."""
    names = ["".join(chosen) for chosen in itertools.product(*(part.split("|") for part in example.parts))]
    return names[:: -(-len(names) // 200)]


EXAMPLES = {
    "katakana": Example(
        ["ア|カ|サト|ナ|ミヤ|ヨウ", "キ|ンダ|ッツ|リョ|ーガ", "コ|ミ|タロウ|"], "ミヤン", "ミヤ川", "MLP"
    ),
    "devanagari": Example(["क|मि|सु|प्र|वि|नी|ह", "ता|नि|वी|रा", "|का|श|ल"], "प्र", "प्रे", "GRU"),
    "accents": Example(
        ["Zoé|Inès|Ångel|Łuc|Şev|Çağ|Ni\u0303a", "lia|ère|ön|o\u0302me|ïs", "|e\u0301|ß"], "Çağ", "Zoéw", "MLP"
    ),
    "companies": Example(
        ["Müller|O'Neil|Smith-Jones|3K|A/S Nord|St. Mary's", " & | + |-| ", "Söhne|Tech24|iWorks|B.V.", " Ltd.|| GmbH"],
        "Müller & ",
        "O'Neil & C",
        "GRU",
    ),
}
CONFIG = """
name: run
model: {{class_path: Lit{model}, init_args: {{n_embd: 4, n_hidden: 8}}}}
data: {{path: names.txt, batch_size: 16}}
trainer: {{max_steps: 6, max_epochs: -1, val_check_interval: 3, check_val_every_n_epoch: null, log_every_n_steps: 1,
  accelerator: cpu, enable_model_summary: false, enable_progress_bar: false}}
"""
RUN = Path("lightning_logs/001-run")


def write(folder, names, model):
    """The list and the config of a training on it."""
    (folder / "names.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG.format(model=model))


def composed(text):
    return unicodedata.normalize("NFC", text)


def decomposed(text):
    return unicodedata.normalize("NFD", text)


Trained = namedtuple("Trained", "folder example")


@pytest.fixture(scope="module", params=EXAMPLES)
def trained(request, tmp_path_factory, alone):
    """A few steps of `charlm fit` on a list."""
    folder, example = tmp_path_factory.mktemp("list"), EXAMPLES[request.param]
    write(folder, names_of(example), example.model)
    with pytest.MonkeyPatch.context() as patch:
        alone(patch, folder)
        main(["fit", "--config", "config.yaml"])
    return Trained(folder, example)


@pytest.fixture
def charlm(cli, monkeypatch):
    """Run a command line in a folder: its lines on standard output, or the message and status 2."""

    def charlm(folder, *args):
        monkeypatch.chdir(folder)
        done = cli(*args)
        assert done.status in (0, 2)
        return done.err if done.status else done.out.splitlines()

    return charlm


def loss(checkpoint, names):
    """Nats per character, as an evaluation has it."""
    net, tokenizer = checkpoint.net, checkpoint.tokenizer
    batch = build_sequences(names, tokenizer) if takes_names(net) else build_contexts(names, tokenizer, net.block_size)
    return evaluate(net, [batch]).loss


def test_a_prefix_is_taken_composed_or_not(trained, charlm):
    prefix = trained.example.prefix
    sample = ("sample", "--seed", "0", "--prefix")
    names = charlm(trained.folder, *sample, prefix)
    assert all(name.startswith(prefix) for name in names)
    assert charlm(trained.folder, *sample, decomposed(prefix)) == names


def test_the_mean_of_the_scores_is_the_loss_and_every_name_is_shown_whole(trained, charlm, monkeypatch):
    names = names_of(trained.example)[::7]
    _, *rows, mean = charlm(trained.folder, "score", *map(decomposed, names))
    monkeypatch.chdir(trained.folder)
    expected = loss(load_checkpoint(), list(map(composed, names)))
    assert mean.startswith(f"mean over {len(names)} names: {expected:.4f} nats/character, ")
    numbers = re.compile(r"  +\d+\.\d{4}  +\d+\.\d{4}  (.+)$")
    found = [numbers.search(row) for row in rows]
    assert [row[: match.start()] for row, match in zip(rows, found, strict=True)] == list(map(composed, names))
    for name, match in zip(names, found, strict=True):  # without brackets and circles it is the name
        assert re.sub(r"[\[\]\u25cc]", "", match[1]) in (composed(name), f"{composed(name)}.")
        assert "[" in match[1]


def test_an_out_of_vocabulary_character_is_named(trained, charlm):
    name = trained.example.strange
    said = f"{name!r} has {name[-1]!r} (U+{ord(name[-1]):04X}) at position"
    lines = charlm(trained.folder, "score", name, names_of(trained.example)[0])
    assert f"{name[-1]!r} is not in the alphabet" in lines[1]
    assert f"charlm: error: --prefix {said}" in charlm(trained.folder, "sample", "--prefix", name)


def test_capitals_and_accents_find_a_model_of_lower_case(charlm, tmp_path):
    """Typed in capitals and decomposed, trained in lower case and composed."""
    write(tmp_path, names_of(EXAMPLES["accents"]), "GRU")
    charlm(tmp_path, "fit", "--config", "config.yaml", "--data.lowercase", "true")
    names = charlm(tmp_path, "sample", "--prefix", decomposed("ÇAĞ"))
    assert all(name.startswith("çağ") and name == name.lower() for name in names)
    assert charlm(tmp_path, "score", decomposed("ÇAĞLIA"))[1].startswith("çağlia  ")
    assert "--prefix 'çaž' has 'ž' (U+017E) at position 2" in charlm(tmp_path, "sample", "--prefix", "ÇAŽ")


def test_letters_beyond_u_ffff_go_through_every_command(charlm, tmp_path):
    """They are two units in UTF-16, and a YAML reader refuses their escapes in JSON."""
    parts = ("\U00020bb7|\U0001e922|\U0001f600|ab", "野|\U0001e923|c", "d|\U0001f680|e")
    write(tmp_path, map("".join, itertools.product(*(part.split("|") for part in parts))), "MLP")
    for line in (
        *("fit --config config.yaml", "fit --resume --trainer.max_steps=9", "validate", "test", "predict", "plot"),
        *("fit --ckpt_path last --trainer.max_steps=12", "sample --prefix \U00020bb7 --mark", "score \U0001f600c"),
    ):
        answer = charlm(tmp_path, *line.split())
        assert isinstance(answer, list), f"{line}: {answer}"
    assert "\U0001f680" in (tmp_path / RUN / "predictions.csv").read_text(encoding="utf-8")


def test_a_table_with_labels_and_weights(cli):
    """From the checkpoint alone: names of one label, scores given it, and a test with the loss of each."""
    names = [
        f"{a}{b}{'a' if number % 2 else 'o'}" for number, (a, b) in enumerate(itertools.product("bdgklm", "aeiou"))
    ]
    rows = [f"{name},{'F' if name[-1] == 'a' else 'M'},{len(name) + at % 5}\n" for at, name in enumerate(names * 3)]
    Path("names.csv").write_text("name,sex,count\n" + "".join(rows))
    data = ["--data", "names.csv", "--data.column", "name", "--data.label", "sex", "--data.weight", "count"]
    fit = ["--model", "MLP", "--trainer.max_steps", "400", "--model.optimizer", "AdamW", "--model.lr", "0.01"]
    out = cli("fit", *data, *fit, "--trainer.accelerator", "cpu").out
    assert re.search(r"\nval by label: F [\d.]+, M [\d.]+\n(?s:.)*\n  [FM]  \w+ +(new|in train)\n", out)
    assert ",val F,val M," in cli("summary", "--csv").out
    (run,) = Path("lightning_logs").iterdir()
    shutil.copytree(run, run.with_name("002-copy"))
    assert re.search(r"\n[FM] \w+ +[FM] \w+\n", cli("compare", "1", "2").out)
    Path("names.csv").rename("elsewhere.csv")
    assert sum(name.endswith("a") for name in cli("sample", "--label", "F", "-n", "200").out.split()) > 150
    drawn = [cli("sample", "--seed", "5", "--distinct", "-n", n).out.splitlines() for n in ("20", "3")]
    assert drawn[1] == drawn[0][:3]
    names, labels = zip(*(line.split("\t") for line in drawn[0]), strict=True)
    assert (len(set(names)), set(labels)) == (20, {"F", "M"})
    given = [cli("score", "bada", "kela", "--label", label).out for label in "FM"]
    means = [float(re.search(r"mean over 2 names: ([\d.]+)", out)[1]) for out in given]
    assert means[0] < means[1]
    out = cli("score", "bada", "kela", "--label", "all").out
    assert re.findall(r"(\w+) +([FM]) ", out) == [("bada", "F"), ("bada", "M"), ("kela", "F"), ("kela", "M")]
    assert [float(mean) for mean in re.findall(r"as [FM]: ([\d.]+)", out)] == means
    Path("elsewhere.csv").rename("names.csv")
    assert re.search(r"loss/test/F .*\n +loss/test/M ", cli("test").out)
    for line, said in {
        "sample --label X": r"'X' is none of the model's labels; give one of them as --label: F, M",
        "test --data.label null": r"--data.label is None, and \S+ckpt was trained with 'sex'; leave the",
        "sample --label F --top-k 0": r" --top-k is 0; give 1 or more",
    }.items():
        assert re.search(said, cli(*line.split()).err)
