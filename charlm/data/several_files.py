"""Several files as one list of names."""

import glob
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from charlm.data.corpus import Corpus
from charlm.data.download import MAKEMORE, refuse_address
from charlm.messages import first_few

_SHOWN = 6  # files whose counts, and whose notes, are listed

Paths = str | Path | Sequence[str | Path] | None
"""A file, a pattern such as "lists/*.txt", "makemore", or a list of these; None: the names that come with charlm."""


def absolute(path: Paths) -> str | list[str] | None:
    """The same files from every working directory.

    Raises:
        ValueError: an internet address, or an empty list.
    """
    if path is None or path == MAKEMORE:
        return path
    if not isinstance(path, str | Path):
        if not path:
            raise ValueError("`path` is an empty list; give a file of names")
        return [str(absolute(each)) for each in path]
    refuse_address(path)
    return str(Path(path).absolute())


def read_files(path: Paths, read: Callable[[str | Path | None], Corpus]) -> Corpus:
    """Read one file or several, each with `read`, and join them.

    Raises:
        OSError: no file matches a pattern, or as for `read`.
        ValueError: as for `read`.
    """
    given = [path] if path is None or isinstance(path, str | Path) else path
    corpora = [read(file) for file in dict.fromkeys(file for each in given for file in _matching(each))]
    return corpora[0] if len(corpora) == 1 else _joined(corpora)


def _matching(path: str | Path | None) -> list[str | Path | None]:
    """The files that match a pattern, in alphabetical order; if the path is not a pattern, the path alone."""
    if path is None or not glob.has_magic(str(path)) or Path(path).exists():
        return [path]
    files = [file for file in sorted(glob.glob(str(path), recursive=True)) if Path(file).is_file()]
    if not files:
        raise FileNotFoundError(f"no file matches {path}; give an existing file or another pattern")
    return list(files)


def _joined(corpora: Sequence[Corpus]) -> Corpus:
    """Join lists in their order; the labels are sorted, unless all lists have the same."""
    names = [Path(corpus.source).name for corpus in corpora]
    counts = [f"{len(corpus):,} names from {name}" for name, corpus in zip(names, corpora, strict=True)]
    notes = [f"{name}: {corpus.note}" for name, corpus in zip(names, corpora, strict=True) if corpus.note]
    weights = [corpus.weights for corpus in corpora if corpus.weights is not None]
    same = len({corpus.labels for corpus in corpora}) == 1
    labels = corpora[0].labels if same else tuple(sorted({label for corpus in corpora for label in corpus.labels}))
    numbers = [
        np.array([labels.index(label) for label in corpus.labels], np.int16)[corpus.label_of]
        for corpus in corpora
        if corpus.label_of is not None
    ]
    return Corpus(
        b"".join(corpus.data for corpus in corpora),
        "".join(sorted(set().union(*(corpus.alphabet for corpus in corpora)))),
        sum(map(len, corpora)),
        f"{corpora[0].source} and {len(corpora) - 1} more",
        ", ".join(first_few(texts, _SHOWN) for texts in (counts, notes) if texts),
        np.concatenate(weights) if weights else None,
        labels,
        np.concatenate(numbers) if numbers else None,
    )
