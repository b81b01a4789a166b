"""Vowels and consonants, by the Unicode names of characters."""

import re
import unicodedata

from charlm.callbacks.shared.palette import LOOKS

LETTERS = {"vowel": LOOKS[1], "consonant": LOOKS[0], "boundary": LOOKS[3], "other": LOOKS[2]}
"""The kinds of characters, and how they look."""
# without what follows WITH; other scripts have names that do not tell the sound
_LETTER = r"(LATIN|GREEK|CYRILLIC|DEVANAGARI|BENGALI|GUJARATI|TAMIL|TELUGU|HIRAGANA|KATAKANA) .*(LETTER|LIGATURE) .+"
_VOWEL = (
    r".* (?:LETTER|LIGATURE) (?:SMALL |DOTLESS |.*UKRAINIAN )?[AEIOU]+|CYRILLIC .* (?:Y[AEIU]|YERU)|.* SCHWA"
    "|GREEK .* (?:ALPHA|EPSILON|ETA|IOTA|OMICRON|UPSILON|OMEGA)"
)


def kind_of(label: str) -> str:
    """Return "vowel", "consonant", "boundary" (".", "·", or a token in angle brackets such as "<s>") or "other".

    Accents are ignored, and y is a consonant. Scripts whose letters are syllables or do not tell are "other".

    Example:
        >>> [kind_of(label) for label in ("É", "y", "ж", "7", ".", "<F>")]
        ['vowel', 'consonant', 'consonant', 'other', 'boundary', 'boundary']
    """
    if label in {".", "·"} or re.fullmatch("<.*>", label):
        return "boundary"
    name = unicodedata.name(label, "").partition(" WITH ")[0] if len(label) == 1 else ""
    if "VOWEL SIGN" in name or re.fullmatch(_LETTER, name):
        return "vowel" if "VOWEL SIGN" in name or re.fullmatch(_VOWEL, name) else "consonant"
    return "other"


def kinds_of_letters(labels: list[str]) -> list[str]:
    """The kind of each label; [] unless there are vowels and consonants among them."""
    kinds = [kind_of(label) for label in labels]
    return kinds if {"vowel", "consonant"} <= set(kinds) else []
