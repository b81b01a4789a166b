import pytest

from charlm.cli.terminal_text import check_vocabulary, cleaned, display_width, padded


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("ミア", 4),
        ("ﾐｱ", 2),  # half-width katakana
        ("x\u0302a", 2),  # no composed form
        ("שָׁלוֹם", 4),  # four letters with their points
        ("हिन्दी", 5),  # two vowel signs take cells of their own, the virama does not
    ],
)
def test_cells_of_a_terminal(text, cells):
    assert display_width(text) == cells
    assert padded(text, 9) == text + " " * (9 - cells)
    assert padded(text, 9, right=True) == " " * (9 - cells) + text


def test_text_is_lowered_before_it_is_composed_as_in_a_names_file():
    assert cleaned("E\u0301", lowercase=False) == "É"
    assert cleaned("E\u0301", lowercase=True) == "é"
    assert cleaned("\u0130", lowercase=True) == "i\u0307"
    assert cleaned("\u0130I", lowercase="tr") == "i\u0131"


def test_the_first_out_of_vocabulary_character_is_named():
    check_vocabulary("name", ["ab", "ba", ""], "ab")
    with pytest.raises(ValueError, match=r"name 'axb' has 'x' \(U\+0078\) at position 1, outside the alphabet 'ab'"):
        check_vocabulary("name", ["ab", "axb", "y"], "ab")
    with pytest.raises(ValueError, match=r"outside the alphabet '.{40}'\.\.\. \(500 characters\) of the model"):
        check_vocabulary("name", ["a"], "".join(map(chr, range(0x4E00, 0x4E00 + 500))))
