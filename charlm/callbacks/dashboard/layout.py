"""Which scalars share a chart in TensorBoard's Custom Scalars tab."""

import re
from collections.abc import Collection, Mapping

from charlm.callbacks.shared.logger_adapters import Layout

_CHARTS = {  # section, title: regular expressions for tags
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

_VAL, _TRAIN = "loss/val", "loss_mean/train"


def layout(charts: Mapping[str, list[str]]) -> Layout:
    """Return the usual charts, and more charts in a section "More".

    Args:
        charts: by title, regular expressions for the tags.

    Raises:
        ValueError: a chart without tags, or with an invalid regular expression.
    """
    for title, tags in charts.items():
        if not tags:
            raise ValueError(f"the chart {title!r} has no tags; give a list of regular expressions, such as ['^acc/']")
        for tag in tags:
            try:
                re.compile(tag)
            except re.error as error:
                message = f"the chart {title!r} has {tag!r}, which is not a regular expression ({error})"
                raise ValueError(f"{message}; give one, such as '^acc/'") from None
    sections = {**_CHARTS, **({"More": dict(charts)} if charts else {})}
    return {
        section: {title: ["Multiline", list(tags)] for title, tags in inside.items()}
        for section, inside in sections.items()
    }


def with_band(layout: Layout, metrics: Collection[str]) -> Layout:
    """Put a chart before the others whose line is the val loss and whose band ends at the train loss of the same step.

    TensorBoard gives all curves of a run one colour, so val and train look alike on a chart of lines. The chart has a
    section of its own, since TensorBoard puts charts with bands last in theirs.

    Args:
        layout: the usual charts.
        metrics: what the module logs; without `loss/val` and `loss_mean/train` there is no such chart.
    """
    if not {_VAL, _TRAIN}.issubset(metrics):
        return layout
    band = {"val (line) and train (edge of the band)": ["Margin", [_VAL, _TRAIN, _VAL]]}
    return {"Loss of val and train": band, **layout}
