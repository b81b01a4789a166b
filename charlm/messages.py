"""What was perhaps meant by a mistyped name."""

import difflib
from collections.abc import Iterable


def did_you_mean(wanted: str, names: Iterable[str], prefix: str = "") -> str:
    """The end of a message: the nearest of `names`, whatever the case, after `prefix`; "" where none is near.

    Example:
        >>> did_you_mean("modle", ["model", "data"], prefix="--")
        '. Did you mean --model?'
    """
    by_lower = {name.lower(): name for name in names}
    begun = [name for name in by_lower if wanted and name.startswith(wanted.lower())]
    close = sorted(begun, key=len) or difflib.get_close_matches(wanted.lower(), by_lower, n=1)
    return f". Did you mean {prefix}{by_lower[close[0]]}?" if close else ""
