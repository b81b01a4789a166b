"""What a user sees of three runs of `charlm fit`, asked of the TensorBoard that shows it."""

from urllib.parse import quote

import pytest

from charlm.cli.commands.dashboard import METRICS

MLP, BIGRAM, SMALL = (f"00{number}-run" for number in range(1, 4))
CURVES = {"loss/train", "loss/val", "loss/test", "perplexity/val", "accuracy/val", "lr", "epoch"}
SAMPLES = {"samples/new", "samples/distinct", "samples/mean_length", "samples/mean_length_data"}


@pytest.fixture(scope="session")
def points(ask):
    """The curve of a tag as (step, value)."""

    def points(run, tag):
        return [(step, value) for _, step, value in ask(f"scalars/scalars?run={run}&tag={quote(tag)}")]

    return points


def steps(curve):
    return [step for step, _ in curve]


def test_every_run_has_its_curves_and_what_a_validation_measures_stands_at_one_step(points, ask):
    tags = ask("scalars/tags")
    assert set(tags) == {MLP, BIGRAM, SMALL}
    for run, found in tags.items():
        assert set(found) >= CURVES | SAMPLES, run
        assert not [tag for tag in found if tag.endswith(("_step", "_epoch"))], "Lightning splits no curve"
        layers = [tag for tag in found if tag.startswith("saturation/")]
        assert len(layers) == (run != BIGRAM)
        validated = steps(points(run, "loss/val"))
        assert len(validated) == 4
        for tag in (*SAMPLES, *layers, "accuracy/val", "perplexity/val"):
            drawn = steps(points(run, tag))
            assert [step for step in drawn if step >= validated[0]] == validated, tag
        assert set(validated) <= set(steps(points(run, "loss/train")))


def test_a_test_afterwards_leaves_the_curves_alone(points):
    """Its events come later and are of an earlier step, which TensorBoard takes for a restart, if it is told so."""
    assert len(points(MLP, "loss/train")) == len(points(SMALL, "loss/train"))
    assert steps(points(MLP, "loss/val")) == steps(points(SMALL, "loss/val"))
    values = {round(value, 5) for _, value in points(MLP, "loss/test")}
    assert len(values) == 1, "the report's and that of `charlm test`"


def test_train_val_and_test_loss_share_a_chart(ask):
    band, *sections = ask("custom_scalars/layout")["category"]
    assert band["chart"][0]["margin"]["series"] == [
        {"value": "loss/val", "lower": "loss_mean/train", "upper": "loss/val"}
    ]
    charts = {
        (category["title"], chart["title"]): chart["multiline"]["tag"]
        for category in sections
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


def test_hparams_have_a_row_a_run_that_ends_with_the_last_losses(ask, points):
    tags = ("loss/val", "loss/test")
    columns = [{"hparam": "model.n_hidden"}, *({"metric": {"tag": tag, "group": ""}} for tag in tags)]
    request = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "colParams": columns, "sliceSize": 9}
    rows = {row["name"]: row for row in ask("hparams/session_groups", request)["sessionGroups"]}
    assert {run: row["hparams"].get("model.n_hidden") for run, row in rows.items()} == {
        MLP: 200,
        BIGRAM: None,
        SMALL: 20,
    }
    found = ask("hparams/experiment", {"experimentName": ""})
    names = [column["name"] for column in found["hparamInfos"]]
    assert names[:3] == ["model", "model.lr", "step_decay.milestones"]
    assert names.index("model.n_hidden") < names.index("trainer.max_steps")  # which does not differ
    assert [column["name"]["tag"] for column in found["metricInfos"]][: len(METRICS)] == list(METRICS)
    for run, row in rows.items():
        values = {metric["name"]["tag"]: metric["value"] for metric in row["metricValues"]}
        assert [values[tag] for tag in tags] == [pytest.approx(points(run, tag)[-1][1]) for tag in tags]
