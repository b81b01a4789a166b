"""The options of a command line, which can be looked up before the parser reads them."""

import re
from collections.abc import Callable, Iterable

_NEGATIVE_NUMBER = re.compile(r"-(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$", re.IGNORECASE)  # a value, no option


class Options:
    """Options with their values, in the order of the command line.

    Args:
        pairs: name, as "--data.path", and value of each; the value is None where there is none, and the name is ""
            where a value stands alone.

    Example:
        >>> options = Options.read(["--config", "mlp", "--model.lr=-1", "--resume"])
        >>> options.pairs
        [('--config', 'mlp'), ('--model.lr', '-1'), ('--resume', None)]
        >>> options.last("--config", "-c"), options.last("--data.path")
        ('mlp', None)
        >>> options.args()
        ['--config=mlp', '--model.lr=-1', '--resume']
    """

    def __init__(self, pairs: Iterable[tuple[str, str | None]]) -> None:
        self.pairs = list(pairs)

    @classmethod
    def read(cls, args: Iterable[str]) -> "Options":
        """Pair every option with its value, which follows it after a space or an equals sign."""
        pairs: list[tuple[str, str | None]] = []
        for arg in args:
            if arg.startswith("-") and not _NEGATIVE_NUMBER.match(arg):
                name, equals, value = arg.partition("=")
                pairs.append((name, value if equals else None))
            elif pairs and pairs[-1][0] and pairs[-1][1] is None:
                pairs[-1] = (pairs[-1][0], arg)
            else:
                pairs.append(("", arg))
        return cls(pairs)

    def args(self) -> list[str]:
        """The arguments again, each option and its value as one."""
        return [name if value is None else f"{name}={value}" if name else value for name, value in self.pairs]

    def last(self, *names: str) -> str | None:
        """The last value that is given for one of `names`; None if there is none."""
        return next((value for name, value in reversed(self.pairs) if name in names and value is not None), None)

    def without(self, name: str) -> "Options":
        """All but one option."""
        return Options(pair for pair in self.pairs if pair[0] != name)

    def changed(self, change: Callable[[str, str], tuple[str, str]]) -> "Options":
        """Every option that has a value as `change` makes it from its name and value."""
        return Options((name, value) if value is None else change(name, value) for name, value in self.pairs)
