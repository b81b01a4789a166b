"""The colours of every chart, which colour-blind readers can tell apart, and the markers of groups of points.

Source: Okabe and Ito 2008, Color Universal Design.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY_BLUE = "#56B4E9"
BLACK = "#000000"
YELLOW = "#F0E442"
GREY = "#999999"


class Look(NamedTuple):
    """How the points of a group are drawn: colour, marker, and the colour of a letter inside the marker."""

    color: str
    marker: str
    ink: str = "white"


LOOKS = (
    Look(BLUE, "s"),
    Look(VERMILION, "o"),
    Look(GREEN, "h"),
    Look(BLACK, "D"),
    Look(PURPLE, "p", "black"),
    Look(ORANGE, "^", "black"),
    Look(SKY_BLUE, "v", "black"),
    Look(YELLOW, "8", "black"),
)


def looks_of(groups: Iterable[str]) -> dict[str, Look]:
    """The look of each group, by frequency; those beyond eight share one.

    Args:
        groups: of each point; "" for points without a group.
    """
    counts = Counter(groups)
    if set(counts) <= {""}:
        return {"": Look(BLUE, "o")}
    looks = [*LOOKS, *[Look(GREY, "X", "black")] * len(counts)]
    return {group: looks[rank] for rank, (group, _) in enumerate(counts.most_common())}
