"""Texts for Markdown, as loggers show it."""


def cell(label: str) -> str:
    r"""Write a label for a cell of a Markdown table, so that every character of it shows and none acts as markup.

    Example:
        >>> cell("a|b"), cell(" "), cell("\n")
        ('a&#124;b', '&#39; &#39;', '&#39;&#92;n&#39;')
    """
    plain = label.isprintable() and label == " ".join(label.split()) and label
    return "".join(
        char if char.isalnum() or char == " " or not char.isascii() else f"&#{ord(char)};"
        for char in (label if plain else repr(label))
    )
