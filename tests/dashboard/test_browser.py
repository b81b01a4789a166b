"""The tabs of TensorBoard in a headless Chromium, on three runs of `charlm fit`.

CHARLM_PICTURES names a folder for pictures of them. Where CHARLM_BROWSER is "required", as in .ci/run, a missing
browser is an error; else these tests are skipped.
"""

import json
import os
from pathlib import Path

import pytest

from charlm.cli.commands.dashboard import PINNED

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def driver(script):
    """One browser for all tabs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SE_AVOID_STATS", "true")
        chromium = script("dashboard_browser").chromium()
        try:
            browser = chromium.__enter__()
        except FileNotFoundError as missing:
            if os.environ.get("CHARLM_BROWSER") == "required":
                raise
            pytest.skip(str(missing))
        yield browser
        chromium.__exit__(None, None, None)


@pytest.fixture
def page(driver, address, script, request):
    """Opens tabs; at the end it is looked at for errors, and a picture is taken if wanted."""
    page = script("dashboard_browser").Page(driver, address)
    yield page
    if folder := os.environ.get("CHARLM_PICTURES"):
        driver.save_screenshot(Path(folder) / f"{request.node.name}.png")
    assert page.errors() == []


def test_time_series_begins_with_the_curves_that_matter(page, runs):
    page.open("timeseries", "Pinned 4 cards", "001-run", "002-run", "003-run", *PINNED)
    last = [json.loads((runs / f"00{number}-run" / "results.json").read_text()) for number in range(1, 4)]
    page.wait_for(*(f"{results['val']:.4f}" for results in last if results["step"] in (8, 40)))
    cards = [text for text in page.run("return elements('card-view').map((card) => card.innerText)") if text.strip()]
    assert len(cards) >= len(PINNED)
    assert all("".join(card.split()).startswith(tag) for card, tag in zip(cards, PINNED, strict=False))


def test_custom_scalars_draw_train_and_val_in_one_chart(page):
    page.open("custom_scalars", "Loss of val and train", "train, val and test", "Matches (9)", "Learning rate", "Names")
    assert page.run("return elements('tf-custom-scalar-margin-chart-card').length") == 1
    lines = "return elements('path').filter((path) => (path.getAttribute('d') || '').length > 100).length"
    page.until(lambda: page.run(lines) >= 4, "line of more than a few points")


def test_hparams_have_a_row_a_run_with_model_and_losses(page):
    page.resize(1900, 900)
    page.open("hparams", "Trial ID", "001-run", "002-run", "003-run", "loss/val", "loss/test")
    page.wait_for("0.30000", "0.050000", "200.00", "20.000")  # learning rates, sizes
    text = page.text()
    assert text.count(" MLP ") >= 2
    assert "Bigram" in text


def test_images_show_the_embedding_and_the_bigram(page):
    page.open("images", "embedding_pca", "bigram", "001-run", "002-run", "003-run")
    widths = "return elements('img').filter((image) => image.complete).map((image) => image.naturalWidth)"
    page.until(lambda: len(page.run(widths)) >= 3, "three images")
    assert all(width >= 300 for width in page.run(widths))


def test_text_shows_the_names_drawn_the_decay_and_the_yaml(page):
    page.open("text&tagFilter=samples", "samples", "Step 39: of 500 names", "new")
    page.open("text&tagFilter=step_decay", "milestone", "0.75 of the steps done", "30")
    page.open("text&tagFilter=yaml", "class_path: charlm.callbacks.StepDecay", "max_steps: 40")


def test_the_projector_opens_in_two_dimensions_with_letters_in_the_colours_of_their_kinds(page):
    page.open("projector", "2 runs found", "Points: 27", "Dimension: 10", "metadata.tsv", "variance described")
    assert page.run("return elements('#z-checkbox').map((box) => box.checked)") == [False], "else it turns"
    counts = {color: count for count, color in page.picture((320, 200, 790, 1000)).getcolors(maxcolors=100_000)}
    blue, vermilion = (0, 114, 178), (213, 94, 0)
    assert counts[blue] > counts[vermilion] > 1000, "21 consonants and 5 vowels"
    page.click("#colorby")
    page.click("paper-item", "kind")
    page.wait_for("boundary 1", "vowel 5", "consonant 21")
