"""Find an embedding table in a module, and the rows, labels and kinds to show. Dimension key: V rows, C columns."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from charlm.callbacks.embedding_pca.kinds import kinds_of_letters
from charlm.callbacks.shared.evaluating import evaluating


class Rows(NamedTuple):
    """The first V rows of a table: labels, kinds or [], kinds for the probe ("" for none), numbers of rows to draw."""

    labels: list[str]
    kinds: list[str]
    probed: list[str]
    drawn: Tensor


def find_table(module: nn.Module, name: str | None = None) -> str:
    """Return the dotted name of a table in `module`: an nn.Embedding, or a parameter or buffer with two dimensions.

    Without a name, it is the only nn.Embedding with more than one row; those that share a table count once.

    Raises:
        ValueError: no such table, or more than one; the message lists the candidates. Or the table is sparse, complex
            or empty.
    """
    owner, candidates = type(module).__name__, _candidates(module)
    if name is None:
        embeddings = _embeddings(module)
        larger = {path: child for path, child in embeddings.items() if child.num_embeddings > 1} or embeddings
        # a parametrization computes a new tensor at each reading
        tables = {dict(child.named_parameters()).get("weight", child): path for path, child in reversed(larger.items())}
        if len(tables) != 1:
            found = f"{len(tables)} nn.Embedding modules" if tables else "no nn.Embedding"
            raise ValueError(f"{owner} has {found}, so name the table; {candidates}")
        (name,) = tables.values()
    table = _find(module, name)
    if not isinstance(table, Tensor) or table.ndim != 2:
        raise ValueError(f"{owner} has no table {name!r}; {candidates}")
    if table.layout != torch.strided or table.is_complex() or not table.numel():
        raise ValueError(
            f"{owner}'s table {name} {tuple(table.shape)} is sparse, complex or empty; name one with rows and columns"
            f" of real numbers, or register such a copy as a buffer. {candidates}"
        )
    return name


def get_table(module: nn.Module, name: str) -> Tensor:
    """Return the table (V, C) of that name, detached; one that is sharded, in all processes at once, as a whole.

    A table that a parametrization computes, such as spectral_norm, is read in eval mode: that leaves training alone.

    Raises:
        ValueError: no such table.
    """
    table = _find(module, name)
    if not isinstance(table, Tensor):
        raise ValueError(f"{type(module).__name__} no longer has a table {name!r}")
    table = (table.full_tensor() if hasattr(table, "full_tensor") else table).detach()
    # most operations do not take floats of 8 bits
    return table.float() if table.is_floating_point() and table.itemsize == 1 else table


def choose_rows(
    labels: list[str] | None, kinds: list[str] | None, module: Any, rows: int, name: str, max_rows: int
) -> Rows:
    """Complete the labels and kinds that the user gave EmbeddingPCA, and choose the rows of table `name` to draw.

    Of more than `max_rows` rows, these are a random sample, without the global random state, and always the same.

    Raises:
        ValueError: the number of labels is not `rows`, or that of the kinds is not that of the labels.
    """
    theirs = list(getattr(module, "embedding_labels", None) or []) if labels is None else []
    if len(theirs) > rows or (labels and len(labels) != rows):
        owner = f"{type(module).__name__}.embedding_labels" if theirs else "EmbeddingPCA"
        raise ValueError(
            f"{owner} has {len(theirs or labels or [])} labels for the {rows} rows of {name};"
            " pass labels=[...] to EmbeddingPCA, one for each row, or [] for the row numbers"
        )
    found = [str(label) for label in theirs or labels or range(rows)]
    of_module = getattr(module, "embedding_kinds", None) if labels is None and kinds is None else None
    kinds = [str(kind) for kind in of_module] if of_module else kinds
    if kinds and len(kinds) != len(found):
        owner = f"{type(module).__name__}.embedding_kinds" if of_module else "EmbeddingPCA"
        raise ValueError(
            f"{owner} has {len(kinds)} kinds for the {len(found)} labelled rows of {name}; pass one for each row"
        )
    letters = kinds_of_letters(found) if kinds is None else []
    probed = [kind if kind in ("vowel", "consonant") else "" for kind in letters] or kinds or [""] * len(found)
    drawn = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))[:max_rows]
    return Rows(found, letters or kinds or [], probed, drawn)


def _find(module: nn.Module, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = _attribute(found, part)
    return _attribute(found, "weight") if isinstance(found, nn.Module) else found


def _attribute(found: Any, name: str) -> Any:
    """An attribute, or None. A parametrization may draw random numbers and change its state at each reading."""
    if isinstance(found, nn.Module) and is_parametrized(found, name):
        with evaluating(found):
            return getattr(found, name)
    return getattr(found, name, None)


def _embeddings(module: nn.Module) -> dict[str, nn.Embedding]:
    return {_plain(path): child for path, child in module.named_modules() if isinstance(child, nn.Embedding)}


def _candidates(module: nn.Module) -> str:
    """Embeddings and tensors that are no layer's; where there are none, the weights of layers such as nn.Linear."""
    found, layers = _embeddings(module), dict[str, Any]()
    tables: dict[str, Any] = {path: (child.num_embeddings, child.embedding_dim) for path, child in found.items()}
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.ndim == 2 and _plain(path).removesuffix(".weight") not in tables:
            owner = type(module.get_submodule(path.rpartition(".")[0]))
            (layers if owner.__module__.startswith("torch.nn.") else tables)[_plain(path)] = tuple(tensor.shape)
    shapes = [f"{path} {shape}" for path, shape in (tables or layers).items()]
    return f"candidates: {', '.join(shapes[:20]) or 'none'}"


def _plain(path: str) -> str:
    return path.replace("_orig_mod.", "")  # inserted by torch.compile; attributes are found without it
