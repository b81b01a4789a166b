import re
import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import font_manager
from matplotlib.font_manager import FontProperties, findfont, fontManager
from matplotlib.ft2font import FT2Font

from charlm.callbacks.embedding_pca.components import principal_components
from charlm.callbacks.embedding_pca.scatter import embedding_figure
from charlm.callbacks.shared import fonts
from charlm.callbacks.shared.fonts import legible, missing_fonts, outlines, printable
from charlm.inference.bigram_table import bigram_heatmap

SCRIPT_A = "\N{MATHEMATICAL SCRIPT CAPITAL A}"  # DejaVu Sans does not have this letter; STIX, also in matplotlib, does


@pytest.fixture
def bundled(monkeypatch):
    """A machine without fonts but matplotlib's own."""
    here = Path(matplotlib.get_data_path())
    own = [font for font in fontManager.ttflist if Path(font.fname).is_relative_to(here)]
    monkeypatch.setattr(fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    fonts._search_others.cache_clear()
    yield
    fonts._search_others.cache_clear()


def has(family, ch):
    return ord(ch) in FT2Font(findfont(FontProperties(family=[family]))).get_charmap()


def figure_of(labels):
    table = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(0))
    return embedding_figure(principal_components(table, 2), labels, "")


@pytest.mark.parametrize("text", ["abc", "Ångström-é", "Жук", "αβγ", "שלום", "سلام", "Հայ", "␣…", ""])
def test_letters_of_matplotlibs_own_font_are_left_to_it(text):
    assert legible([text, "a"]) == ([text, "a"], list(matplotlib.rcParams["font.family"]))


def test_what_no_font_has_is_written_by_its_sound_or_code_point_and_a_package_has_it(bundled):
    """And never as the box that the font of last resort has for every letter of a script."""
    texts, families = legible(["カ", "aキ", SCRIPT_A, "é", "한", "山", "ा"])
    assert texts == ["ka", "aki", SCRIPT_A, "é", "han", "U+5C71", "aa"]
    assert not [family for family in families if "resort" in family.lower()]
    advice = "No font on this machine has {} of these characters.*the package fonts-noto-{}"
    assert re.match(advice.format(2, "cjk"), missing_fonts(["カ", "山a", "é"]))
    assert re.match(advice.format(2, "core"), missing_fonts(["का"]))
    assert missing_fonts(["é", "ж"]) == ""


def test_a_font_that_was_installed_meanwhile_is_found(bundled, monkeypatch, tmp_path):
    """matplotlib lists the fonts of a machine once for all; here STIX is not on the list."""
    known = [font for font in fontManager.ttflist if not font.name.startswith("STIX")]
    stix = [font.fname for font in fontManager.ttflist if font.name.startswith("STIX")]
    monkeypatch.setattr(fontManager, "ttflist", known)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(tmp_path / "gone.ttf"), *stix])
    assert legible([SCRIPT_A])[0] == [SCRIPT_A]
    assert missing_fonts([SCRIPT_A]) == ""


@pytest.mark.parametrize(("label", "written"), [("\u0301", "\u25cc\u0301"), ("ा", "\u25ccा"), (" ", "␣"), ("", "''")])
def test_a_mark_that_stands_alone_stands_on_a_dotted_circle(label, written):
    assert printable(label) == written


def test_an_outline_is_centred_and_fits():
    (small, large, none), sizes = outlines(["a", "W", ""], ["DejaVu Sans"], 12, most=9)
    for shape, size in ((small, sizes[0]), (large, sizes[1])):
        assert np.allclose(shape.vertices.max(0) + shape.vertices.min(0), 0)
        assert np.allclose(np.ptp(shape.vertices, 0), size)
    assert (sizes.max(), len(none.vertices), sizes[2].tolist()) == (pytest.approx(9), 0, [0, 0])
    assert outlines(["W"], ["DejaVu Sans"], 12)[1].max() > 10


def test_pictures_of_any_script_are_drawn_without_a_warning(bundled, caplog):
    labels, shown = [".", "カ", "क", SCRIPT_A, "é"], [".", "ka", "ka", SCRIPT_A, "é"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figure_of(labels)
        figure.draw_without_rendering()
        heat_map = bigram_heatmap([("p", torch.eye(5))], labels, cell_text=True)
        heat_map.draw_without_rendering()
    assert caplog.text == ""
    assert "fonts-noto" in " ".join(figure.texts[2].get_text().split()) == missing_fonts(labels)
    assert [label.get_text() for label in heat_map.axes[0].get_yticklabels()] == shown
