"""Lower case, by the rules of a language where they differ."""

import re
from typing import Any, Literal, get_args

Language = Literal["tr", "az", "lt"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
"""Turkish, Azerbaijani and Lithuanian; Python's own rules suit all other languages, with the final sigma of Greek."""

_LITHUANIAN = {"\xcc": "I\u0300", "\xcd": "I\u0301", "\u0128": "I\u0303"}
_DOTTED = re.compile("([IJ\u012e])(?=[\u0300\u0301\u0303])")


def lower(text: str, how: Any) -> str:
    """A text in lower case.

    Args:
        text: of any length.
        how: True; a language of `LANGUAGES`; False, None: the text stays as it is.

    Example:
        >>> lower("İSTANBUL ISPARTA", "tr")
        'istanbul ısparta'

    Source: the Unicode Standard, SpecialCasing.txt.
    """
    if not how:
        return text
    if how in ("tr", "az"):
        text = text.replace("I\u0307", "i").replace("\u0130", "i").replace("I", "\u0131")
    if how == "lt":  # an i keeps its dot below an accent
        for letter, parts in _LITHUANIAN.items():
            text = text.replace(letter, parts)
        text = _DOTTED.sub("\\1\u0307", text)
    return text.lower()
