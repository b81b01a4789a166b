"""What a user sees of three runs of `charlm fit`, asked of the TensorBoard that shows it."""

import html
import json
import re
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:html5lib's sanitizer is deprecated:DeprecationWarning")  # TensorBoard's

MLP, BIGRAM, SMALL = (f"version_{number}" for number in range(3))
STATUSES = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
CURVES = {"loss/train", "loss/val", "loss/test", "perplexity/val", "accuracy/val", "lr", "epoch"}
SAMPLES = {"samples/new", "samples/distinct", "samples/mean_length", "samples/mean_length_data"}
PNG, GIF = b"\x89PNG\r\n\x1a\n", b"GIF89a"


@pytest.fixture(scope="session")
def points(ask):
    """The curve of a tag as (step, value)."""

    def points(run, tag):
        return [(step, value) for _, step, value in ask(f"scalars/scalars?run={run}&tag={quote(tag)}")]

    return points


@pytest.fixture(scope="session")
def experiment(ask):
    return ask("hparams/experiment", {"experimentName": ""})


@pytest.fixture(scope="session")
def sessions(ask, experiment):
    """The rows of the HParams table by run, with all columns."""
    columns = [{"hparam": info["name"]} for info in experiment["hparamInfos"]]
    columns += [{"metric": info["name"]} for info in experiment["metricInfos"]]
    request = {"experimentName": "", "allowedStatuses": STATUSES, "colParams": columns, "startIndex": 0, "sliceSize": 9}
    return {row["name"]: row for row in ask("hparams/session_groups", request)["sessionGroups"]}


def steps(curve):
    return [step for step, _ in curve]


def test_every_run_has_its_curves(ask):
    tags = ask("scalars/tags")
    assert set(tags) == {MLP, BIGRAM, SMALL}
    for run, found in tags.items():
        assert set(found) >= CURVES | SAMPLES, run
    saturation = {run: [tag for tag in found if tag.startswith("saturation/")] for run, found in tags.items()}
    assert {run: len(layers) for run, layers in saturation.items()} == {MLP: 1, BIGRAM: 0, SMALL: 1}


@pytest.mark.parametrize("run", [MLP, BIGRAM, SMALL])
def test_what_a_validation_measures_stands_at_one_step(points, ask, run):
    validated = steps(points(run, "loss/val"))
    assert len(validated) == 4
    measured = [tag for tag in ask("scalars/tags")[run] if tag.startswith(("samples/", "saturation/"))]
    for tag in (*measured, "accuracy/val", "perplexity/val"):
        drawn = steps(points(run, tag))
        assert [step for step in drawn if step >= validated[0]] == validated, tag
    assert set(validated) <= set(steps(points(run, "loss/train")))


def test_the_rate_drops_where_the_decay_says(points, ask):
    """Three quarters of 40 steps are done after step 29, as steps count from 0."""
    curve = points(MLP, "lr")
    assert curve == [(step, pytest.approx(0.1 if step < 30 else 0.01)) for step in range(40)]
    text = text_of(ask, MLP, "step_decay")
    assert "<table>" in text
    assert "<td>0.75 of the steps done</td>" in text
    assert [cell for cell in re.findall(r">([\d.,]+)</td>", text) if cell == "30"] == ["30"]


def test_the_losses_are_those_of_the_report(points, runs):
    for run in (MLP, BIGRAM, SMALL):
        results = json.loads((runs / run / "results.json").read_text())
        assert points(run, "loss/test")[-1] == (results["step"] - 1, pytest.approx(results["test"], abs=1e-5))
        assert dict(points(run, "loss/val"))[results["step"] - 1] == pytest.approx(results["val"], abs=1e-5)


def test_a_test_afterwards_leaves_the_curves_alone(points):
    """Its events come later and are of an earlier step, which TensorBoard takes for a restart, if it is told so."""
    assert len(points(MLP, "loss/train")) == len(points(SMALL, "loss/train"))
    assert steps(points(MLP, "loss/val")) == steps(points(SMALL, "loss/val"))
    values = {round(value, 5) for _, value in points(MLP, "loss/test")}
    assert len(values) == 1, "the report's and that of `charlm test`"


def test_train_val_and_test_loss_share_a_chart(ask):
    charts = {
        (category["title"], chart["title"]): chart["multiline"]["tag"]
        for category in ask("custom_scalars/layout")["category"]
        for chart in category["chart"]
    }
    shown = {place: set() for place in charts}
    for place, expressions in charts.items():
        for expression in expressions:
            answer = ask(f"custom_scalars/scalars?run={MLP}&tag={quote(expression)}")
            assert answer["regex_valid"], expression
            shown[place] |= set(answer["tag_to_events"])
    assert next(iter(shown.values())) == {"loss_mean/train", "loss/val", "loss/test"}
    assert {"lr"} in shown.values()
    assert {"samples/new", "samples/distinct"} in shown.values()
    assert all(shown.values()), "no chart is empty"


def test_all_columns_of_all_models_are_in_one_table(sessions, experiment):
    columns = [info["name"] for info in experiment["hparamInfos"]]
    assert {"model", "n_embd", "n_hidden", "block_size", "weight_penalty", "optimizer", "lr"} <= set(columns)
    differ = [info["name"] for info in experiment["hparamInfos"] if info["differs"]]
    assert {"model", "lr", "n_hidden"} <= set(differ)
    assert columns[: len(differ)] == differ, "those that differ come first"
    values = {run: row["hparams"] for run, row in sessions.items()}
    assert {run: found["model"] for run, found in values.items()} == {MLP: "MLP", BIGRAM: "Bigram", SMALL: "MLP"}
    assert [values[run].get("n_hidden") for run in (MLP, BIGRAM, SMALL)] == [200, None, 20]
    assert [values[run]["lr"] for run in (MLP, BIGRAM, SMALL)] == [0.1, 0.3, 0.05]
    assert values[BIGRAM]["weight_penalty"] == 0


def test_the_table_ends_with_the_last_losses_and_how_the_run_ended(sessions, points):
    for run, row in sessions.items():
        values = {metric["name"]["tag"]: metric["value"] for metric in row["metricValues"]}
        for tag in ("loss/val", "loss/test"):
            assert values[tag] == pytest.approx(points(run, tag)[-1][1])
        assert row["sessions"][0]["status"] == "STATUS_SUCCESS"


def text_of(ask, run, tag):
    """The last text of that tag, in HTML."""
    return ask(f"text/text?run={run}&tag={tag}/text_summary")[-1]["text"]


def code(text):
    """The lines of a block of code in HTML."""
    return html.unescape(re.search(r"<pre><code.*?>(.*)</code></pre>", text, re.DOTALL)[1]).splitlines()


@pytest.mark.parametrize("run", [MLP, BIGRAM, SMALL])
def test_the_config_is_there_as_it_was_written(ask, runs, run):
    assert code(text_of(ask, run, "config"))[:-1] == (runs / run / "config.yaml").read_text().splitlines()


@pytest.mark.parametrize("run", [MLP, BIGRAM, SMALL])
def test_twenty_names_are_shown_at_every_validation(ask, points, run):
    texts = ask(f"text/text?run={run}&tag=samples/text_summary")
    validated = steps(points(run, "loss/val"))
    assert [text["step"] for text in texts if text["step"] >= validated[0]] == validated
    assert len({text["text"] for text in texts}) > 1, "the model learns"
    for text in texts:
        marks = [line.split()[0] for line in code(text["text"])]
        assert len(marks) == 20
        assert "new" in marks


def test_the_hidden_layers_values_are_a_histogram(ask):
    tags = ask("histograms/tags")
    assert BIGRAM not in tags or not any(tag.startswith("activations/") for tag in tags[BIGRAM])
    (tag,) = [tag for tag in tags[MLP] if tag.startswith("activations/")]
    drawn = ask(f"histograms/histograms?run={MLP}&tag={tag}")
    assert len(drawn) >= 4
    edges = [edge for _, _, bins in drawn for low, high, _ in bins for edge in (low, high)]
    assert -1 <= min(edges) < 0 < max(edges) <= 1, "of a tanh"
