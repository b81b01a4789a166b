import itertools
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

from charlm.callbacks.embedding_pca.components import principal_components
from charlm.callbacks.embedding_pca.scatter import embedding_figure
from charlm.callbacks.shared import fonts as lettering
from charlm.callbacks.shared.fonts import legible, printable
from charlm.inference.bigram_table import bigram_heatmap

SCRIPT_A = (
    "\N{MATHEMATICAL SCRIPT CAPITAL A}"  # which DejaVu Sans does not have, and STIX, that comes with matplotlib, has
)


@pytest.fixture
def bundled(monkeypatch):
    """A machine without fonts but matplotlib's own."""
    here = Path(matplotlib.get_data_path())
    own = [font for font in fontManager.ttflist if Path(font.fname).is_relative_to(here)]
    monkeypatch.setattr(fontManager, "ttflist", own)
    lettering._search.cache_clear()
    yield
    lettering._search.cache_clear()


def has(family, ch):
    return ord(ch) in FT2Font(findfont(FontProperties(family=[family]))).get_charmap()


def figure_of(labels):
    table = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0))
    return embedding_figure(table, principal_components(table, 2), labels, "")


@pytest.mark.parametrize(
    ("label", "written"),
    [("a" * 16, "a" * 16), ("a" * 17, "a" * 15 + "…"), ("\t\t", r"'\t\t'"), (" a", " a")],
)
def test_a_label_is_written_so_that_it_shows_and_has_room(label, written):
    assert printable(label) == written


@pytest.mark.parametrize("text", ["abc", "Ångström-é", "Жук", "αβγ", "שלום", "سلام", "Հայ", "␣…", ""])
def test_letters_of_matplotlibs_own_font_are_left_to_it(text):
    assert legible([text, "a"]) == ([text, "a"], list(matplotlib.rcParams["font.family"]))


def test_for_other_letters_a_font_of_this_machine_is_found(bundled):
    texts, (own, *others) = legible(["a", f"x{SCRIPT_A}"])
    assert texts == ["a", f"x{SCRIPT_A}"]
    assert not has(own, SCRIPT_A)
    assert [has(family, SCRIPT_A) for family in others] == [True]


def test_what_no_font_has_is_written_by_its_code_point(bundled):
    """And never as the box that the font of last resort has for every letter of a script."""
    texts, families = legible(["カ", "aキ", SCRIPT_A, "é"])
    assert texts == ["U+30AB", "aU+30AD", SCRIPT_A, "é"]
    assert not [family for family in families if "resort" in family.lower()]


def test_a_font_that_cannot_be_read_is_passed_by(bundled, monkeypatch, tmp_path):
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    entries = [FontEntry(fname=str(broken), name="A Sans"), FontEntry(fname=str(tmp_path / "gone.ttf"), name="B Sans")]
    monkeypatch.setattr(fontManager, "ttflist", [*entries, *fontManager.ttflist])
    assert legible([SCRIPT_A])[1][1:] == ["STIXGeneral"]


def test_the_users_own_font_comes_first(bundled):
    with matplotlib.rc_context({"font.family": ["STIXGeneral", "sans-serif"]}):
        assert legible([SCRIPT_A, "é"]) == ([SCRIPT_A, "é"], ["STIXGeneral", "sans-serif"])


def test_pictures_of_any_script_are_drawn_without_a_warning(bundled, caplog):
    labels = [".", "カ", "क", SCRIPT_A, "é"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figure_of(labels)
        figure.draw_without_rendering()
        heat_map = bigram_heatmap([("p", torch.eye(5))], labels, cell_text=True)
        heat_map.draw_without_rendering()
    assert caplog.text == ""
    assert [note.get_text() for note in figure.axes[0].texts] == [".", "U+30AB", "U+0915", SCRIPT_A, "é"]
    ticks = [label.get_text() for label in heat_map.axes[0].get_yticklabels()]
    assert ticks == [".", "U+30AB", "U+0915", SCRIPT_A, "é"]
    assert {text.get_text() for text in heat_map.axes[0].texts} == {".00", "1.00"}  # there is no room for pairs


def test_long_labels_of_a_heat_map_do_not_run_into_each_other(bundled):
    labels = [chr(ord("ア") + i) for i in range(40)]
    figure = bigram_heatmap([("p", torch.eye(40))], labels, cell_text=False)
    figure.draw_without_rendering()
    for ticks in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        boxes = [label.get_window_extent() for label in ticks]
        assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes))
        assert min(box.x0 for box in boxes) > 0


def test_a_letter_of_another_font_is_drawn_as_in_that_font(bundled):
    """Its outline is that of a text in which the font is asked for by name."""
    notes = {note.get_text(): note for note in figure_of([SCRIPT_A, "a", "b"]).axes[0].texts}
    drawn = text_to_path.get_text_path(notes[SCRIPT_A].get_fontproperties(), SCRIPT_A)
    expected = text_to_path.get_text_path(FontProperties(family=["STIXGeneral"]), SCRIPT_A)
    assert len(drawn[0]) > 10
    assert (np.array(drawn[0]) == np.array(expected[0])).all()
