"""Which curves TensorBoard's Custom Scalars tab has side by side."""

import re
from collections.abc import Mapping

from charlm.callbacks.shared.loggers import Layout

_CHARTS = {  # by section and title: regular expressions of tags
    "Loss": {
        "train, val and test": [r"^loss_mean/train$", r"^loss/(val|test)$", r"^(train|val|test)[_/]loss(_epoch)?$"],
        "train, every step": [r"^loss/train$", r"^train[_/]loss(_step)?$"],
    },
    "Learning rate": {"of each optimizer and group": [r"^lr($|[/-])"]},
    "Names": {
        "share of new and of distinct names": [r"^samples/(new|distinct)$"],
        "mean length in characters, and the data's": [r"^samples/mean_length(_data)?$"],
    },
    "Hidden layers": {"share of saturated or dead units": [r"^(saturation|dead)/"]},
}


def layout(charts: Mapping[str, list[str]]) -> Layout:
    """The usual charts, and further ones in a section of their own.

    Args:
        charts: by title the regular expressions of the tags.

    Raises:
        ValueError: one of them is no regular expression, or a chart has none.
    """
    for title, tags in charts.items():
        if not tags:
            raise ValueError(f"the chart {title!r} has no tags; give a list of regular expressions, such as ['^acc/']")
        for tag in tags:
            try:
                re.compile(tag)
            except re.error as error:
                raise ValueError(
                    f"the chart {title!r} has {tag!r}, which is no regular expression ({error}); give one, such as"
                    " '^acc/'"
                ) from None
    sections = {**_CHARTS, **({"More": dict(charts)} if charts else {})}
    return {
        section: {title: ["Multiline", list(tags)] for title, tags in inside.items()}
        for section, inside in sections.items()
    }
