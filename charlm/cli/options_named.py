"""The options as a user types them, in the errors of functions that know them as arguments."""

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_ARGUMENT = re.compile(r"`(\w+)`|^(\w+)(?= is )")
_CHARLM = Path(__file__).parents[1]


@contextmanager
def options_named(options: Mapping[str, str]) -> Iterator[None]:
    """Name options in charlm's ValueErrors: for arguments in backticks, and for one that begins a message ("n is 0").

    Args:
        options: the option of each argument, such as {"top_k": "--top-k"}.
    """
    try:
        yield
    except Exception as error:
        each: BaseException | None = error
        while each is not None:  # jsonargparse's error has that of a constructor as its cause
            if isinstance(each, ValueError) and _is_ours(each):
                each.args = (_ARGUMENT.sub(lambda found: options.get(found[1] or found[2], found[0]), str(each)),)
            each = each.__cause__
        raise


def _is_ours(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)  # none of a cause that was never raised
    return bool(frames) and Path(frames[-1].filename).is_relative_to(_CHARLM)
