"""Lists of the user's own, in any script: from `charlm fit` to names, marks and scores, as they are typed."""

# letters of other scripts look like Latin ones

import itertools
import re
import unicodedata
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import lightning.pytorch  # noqa: F401  # its log handlers are made on import, and are not to hold a test's stderr
import pytest

from charlm.cli.main import main
from charlm.cli.training_names import training_splits
from charlm.data.contexts import build_contexts
from charlm.data.sequences import build_sequences
from charlm.nets.interface import takes_names
from charlm.nets.loss import evaluate
from charlm.runs.checkpoint import load_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Lightning's own use of jsonargparse


@dataclass(frozen=True)
class Example:
    """A list, and what to ask of a model of it.

    parts: of the names; one of each line, in all combinations.
    prefix: how some names begin, composed.
    strange: a name with one character that the list does not have, the last one.
    cells: of a terminal that each letter takes.
    """

    parts: list[str]
    prefix: str
    strange: str
    cells: int = 1

    @property
    def names(self):
        """60 to 200 names, those with accents as they stand below, some of them decomposed."""
        names = ["".join(chosen) for chosen in itertools.product(*(part.split("|") for part in self.parts))]
        return names[:: -(-len(names) // 200)]


EXAMPLES = {
    "katakana": Example(
        ["ア|カ|サト|ナ|ミヤ|ヨウ", "キ|ンダ|ッツ|リョ|ーガ", "コ|ミ|タロウ|"], "ミヤン", "ミヤ川", cells=2
    ),
    "devanagari": Example(["क|मि|सु|प्र|वि|नी|ह", "ता|नि|वी|रा", "|का|श|ल"], "प्र", "प्रे"),
    "accents": Example(
        ["Zoé|Inès|Ångel|Łuc|Şev|Çağ|Ni\u0303a", "lia|ère|ön|o\u0302me|ïs", "|e\u0301|ß"], "Çağ", "Zoéw"
    ),
    "companies": Example(
        ["Müller|O'Neil|Smith-Jones|3K|A/S Nord|St. Mary's", " & | + |-| ", "Söhne|Tech24|iWorks|B.V.", " Ltd.|| GmbH"],
        "Müller & ",
        "O'Neil & C",
    ),
}
MODELS = {"MLP": "{n_embd: 2, n_hidden: 8}", "GRU": "{n_embd: 4, n_hidden: 8}"}  # of windows, of whole names
CONFIG = """
model: {{class_path: Lit{model}, init_args: {sizes}}}
data: {{path: names.txt, batch_size: 16}}
trainer: {{max_steps: 6, max_epochs: -1, val_check_interval: 3, check_val_every_n_epoch: null, log_every_n_steps: 1,
  accelerator: cpu, enable_model_summary: false, enable_progress_bar: false}}
"""
RUN = Path("lightning_logs/version_0")
WITHOUT_CELL = "\u0941\u094d"  # of the list in Devanagari: the u below the line, and what joins two consonants


def composed(text):
    return unicodedata.normalize("NFC", text)


def decomposed(text):
    return unicodedata.normalize("NFD", text)


@dataclass
class Trained:
    """A folder with a list and a run of it."""

    folder: Path
    example: Example
    report: str

    def cells(self, text):
        """Of a terminal; Latin letters, digits and signs take one each."""
        one = (1 if ch.isascii() else self.example.cells for ch in text if ch not in WITHOUT_CELL)
        return sum(one)

    def known(self):
        return {composed(name) for name in self.example.names}


@pytest.fixture(scope="module", params=itertools.product(EXAMPLES, MODELS), ids="-".join)
def trained(request, tmp_path_factory, alone):
    """A few steps of `charlm fit` on a list."""
    name, model = request.param
    folder, example = tmp_path_factory.mktemp(name), EXAMPLES[name]
    (folder / "names.txt").write_text("\n".join(example.names) + "\n", encoding="utf-8")
    (folder / "config.yaml").write_text(CONFIG.format(model=model, sizes=MODELS[model]))
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as report:
        alone(patch, folder)
        main(["fit", "--config", "config.yaml"])
    return Trained(folder, example, report.getvalue())


@pytest.fixture
def charlm(capsys, monkeypatch, tmp_path, alone):
    """Run a command line in a folder: its lines on standard output, or the message and status 2."""

    def charlm(folder, *args):
        alone(monkeypatch, folder)
        capsys.readouterr()
        try:
            main(list(args))
        except SystemExit as end:
            if end.code != 2:
                raise
            return capsys.readouterr().err
        return capsys.readouterr().out.splitlines()

    return charlm


def loss(checkpoint, names):
    """Nats per character, as an evaluation has it."""
    net, tokenizer = checkpoint.net, checkpoint.tokenizer
    batch = build_sequences(names, tokenizer) if takes_names(net) else build_contexts(names, tokenizer, net.block_size)
    return evaluate(net, [batch]).loss


def test_the_lists_are_what_they_are_to_show():
    for example in EXAMPLES.values():
        assert 60 <= len(set(example.names)) == len(example.names) <= 200
        assert any(composed(name).startswith(example.prefix) for name in example.names)
        letters = set(composed("".join(example.names)))
        assert set(example.strange) - letters == {example.strange[-1]}
    assert any(composed(name) != name for name in EXAMPLES["accents"].names)
    assert any(decomposed(name) != name for name in EXAMPLES["accents"].names)
    assert set(" &+-'./3") < set("".join(EXAMPLES["companies"].names))


def test_fit_ends_with_a_report_whose_marks_line_up(trained):
    drawn = trained.report.partition("The first 10 names it draws:\n\n")[2].partition("\n\n")[0].splitlines()
    assert len(drawn) == 10
    assert len({trained.cells(re.sub("(new|in train)$", "", line)) for line in drawn}) == 1


def test_a_prefix_is_taken_composed_or_not(trained, charlm):
    prefix = trained.example.prefix
    names = charlm(trained.folder, "sample", "--prefix", prefix)
    assert all(name.startswith(prefix) for name in names)
    assert charlm(trained.folder, "sample", "--prefix", decomposed(prefix)) == names


def test_log_probabilities_and_marks_stand_behind_the_names(trained, charlm, monkeypatch):
    lines = charlm(trained.folder, "sample", "-n", "8", "--log-prob", "--mark", "--prefix", trained.example.prefix)
    monkeypatch.chdir(trained.folder)
    checkpoint = load_checkpoint()
    in_train = set(training_splits(checkpoint).names("train"))
    for line in lines:
        name, log_probability, mark = line.split("\t")
        assert float(log_probability) == pytest.approx(-loss(checkpoint, [name]) * (len(name) + 1), abs=0.006)
        assert mark == ("in train" if name in in_train else "new")


def test_the_mean_of_the_scores_is_the_loss_and_the_columns_line_up(trained, charlm, monkeypatch):
    names = trained.example.names[::7]
    header, *rows, mean = charlm(trained.folder, "score", *map(decomposed, names))
    assert len(rows) == len(names)
    monkeypatch.chdir(trained.folder)
    expected = loss(load_checkpoint(), list(map(composed, names)))
    assert mean.startswith(f"mean over {len(names)} names: {expected:.4f} nats/character, ")
    numbers = re.compile(r"  +(\d+\.\d{4})  +(\d+\.\d{4})  (.+)$")
    found = [numbers.search(row) for row in rows]
    assert [row[: match.start()] for row, match in zip(rows, found, strict=True)] == list(map(composed, names))
    for column, title in ((1, "nats/character"), (2, "nats")):
        ends = {trained.cells(row[: match.end(column)]) for row, match in zip(rows, found, strict=True)}
        assert ends == {re.search(rf"{title}\b(?!/)", header).end()}
    for name, match in zip(
        names, found, strict=True
    ):  # without brackets and circles it is the name, or that and its end
        assert re.sub(r"[\[\]\u25cc]", "", match[3]) in (composed(name), f"{composed(name)}.")
        assert "[" in match[3]


def test_a_file_is_scored_as_its_names_are(trained, charlm):
    assert charlm(trained.folder, "score", "names.txt") == charlm(trained.folder, "score", *trained.example.names)


def test_a_character_outside_the_alphabet_is_named(trained, charlm):
    stranger = trained.example.strange[-1]
    said = f"{trained.example.strange!r} has {stranger!r} (U+{ord(stranger):04X}) at position"
    assert f"charlm: error: name {said}" in charlm(trained.folder, "score", trained.example.strange)
    assert f"charlm: error: the prefix {said}" in charlm(trained.folder, "sample", "--prefix", trained.example.strange)


def test_capitals_and_accents_find_a_model_of_lower_case(charlm, tmp_path):
    """Typed in capitals and decomposed, trained in lower case and composed."""
    (tmp_path / "names.txt").write_text("\n".join(EXAMPLES["accents"].names) + "\n", encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG.format(model="GRU", sizes=MODELS["GRU"]))
    charlm(tmp_path, "fit", "--config", "config.yaml", "--data.lowercase", "true")
    names = charlm(tmp_path, "sample", "--prefix", decomposed("ÇAĞ"))
    assert all(name.startswith("çağ") and name == name.lower() for name in names)
    assert charlm(tmp_path, "score", decomposed("ÇAĞLIA"))[1].startswith("çağlia  ")
    message = charlm(tmp_path, "sample", "--prefix", "ÇAŽ")
    assert "the prefix 'çaž' has 'ž' (U+017E) at position 2, outside the alphabet '" in message
    assert "correct it, or use a model that was trained on names with it" in message


def test_letters_beyond_u_ffff_go_through_every_command(charlm, tmp_path):
    """They are two units in UTF-16, and a YAML reader refuses their escapes in JSON."""
    parts = ("\U00020bb7|\U0001e922|\U0001f600|ab", "野|\U0001e923|c", "d|\U0001f680|e")
    names = map("".join, itertools.product(*(part.split("|") for part in parts)))
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(CONFIG.format(model="MLP", sizes=MODELS["MLP"]))
    for line in (
        *("fit --config config.yaml", "fit --resume --trainer.max_steps=9", "validate", "test", "predict", "plot"),
        *("fit --ckpt_path last --trainer.max_steps=12", "sample --prefix \U00020bb7 --mark", "score \U0001f600c"),
    ):
        answer = charlm(tmp_path, *line.split())
        assert isinstance(answer, list), f"{line}: {answer}"
    assert "\U0001f680" in (tmp_path / RUN / "predictions.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", ["MLP", "Bigram"])
def test_pictures_of_letters_without_a_font_need_no_warning(model, charlm, tmp_path, recwarn, caplog):
    (tmp_path / "names.txt").write_text("\n".join(EXAMPLES["katakana"].names) + "\n", encoding="utf-8")
    sizes = MODELS.get(model, "{}")
    callback = "\n  callbacks: [{class_path: EmbeddingPCA, init_args: {frames: 2}}]" if model == "MLP" else ""
    config = CONFIG.format(model=model, sizes=sizes).rstrip().removesuffix("}") + (callback and f",{callback}") + "}"
    (tmp_path / "config.yaml").write_text(config)
    charlm(tmp_path, "fit", "--config", "config.yaml")
    assert (tmp_path / RUN / "embedding_pca.png").exists() == (model == "MLP")
    if model == "Bigram":
        charlm(tmp_path, "compare-counts")
        assert (tmp_path / RUN / "bigram.png").exists()
    said = [str(warning.message) for warning in recwarn] + caplog.messages
    assert not [text for text in said if re.search("lyph|font|EmbeddingPCA", text)]
