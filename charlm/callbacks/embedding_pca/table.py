"""Find an embedding table in a module, by its dotted name or because it is the only one."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from charlm.callbacks.shared.evaluating import evaluating


def find_table(module: nn.Module, name: str | None = None) -> str:
    """Return the dotted name of a table in `module`: an nn.Embedding, or a parameter or buffer with two dimensions.

    Args:
        module: where to look.
        name: the name that the user gave; None for the only nn.Embedding (those that share one table count once).

    Raises:
        ValueError: no such table, or more than one; the message lists the candidates. Or the table has no rows or
            columns, is sparse, or has complex values.
    """
    owner = type(module).__name__
    if name is None:
        tables = {_identity(child): path for path, child in reversed(_embeddings(module))}
        if len(tables) != 1:
            found = f"{len(tables)} nn.Embedding modules" if tables else "no nn.Embedding"
            raise ValueError(f"{owner} has {found}, so name the table; {_candidates(module)}")
        (name,) = tables.values()
    elif not _two_dimensional(_get(module, name)):
        raise ValueError(f"{owner} has no table {name!r}; {_candidates(module)}")
    table = get_table(module, name)
    problem = ""
    if table.layout != torch.strided:
        problem = "is sparse; register a dense copy of it as a buffer and name that"
    elif table.is_complex():
        problem = "has complex values; register its real part or its absolute value as a buffer and name that"
    elif not table.numel():
        problem = "has no values; name one that has rows and columns"
    if problem:
        raise ValueError(f"{owner}'s table {name} {tuple(table.shape)} {problem}. {_candidates(module)}")
    return name


def get_table(module: nn.Module, name: str) -> Tensor:
    """Return the table (V, C) of that name, detached; one that is sharded over processes as a whole.

    In the latter case all processes must call this. A table that a parametrization computes, such as spectral_norm, is
    read in eval mode, which does not affect training.

    Raises:
        ValueError: no such table.
    """
    table = _tensor(_get(module, name))
    if not isinstance(table, Tensor):
        raise ValueError(f"{type(module).__name__} no longer has a table {name!r}")
    table = (table.full_tensor() if hasattr(table, "full_tensor") else table).detach()
    # most operations do not take floats of 8 bits
    return table.float() if table.is_floating_point() and table.itemsize == 1 else table


def _get(module: nn.Module, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = _attribute(found, part)
    return found


def _tensor(found: Any) -> Any:
    return _attribute(found, "weight") if isinstance(found, nn.Module) else found


def _attribute(found: Any, name: str) -> Any:
    """An attribute, or None. A parametrization may draw random numbers and change its state at each reading."""
    if isinstance(found, nn.Module) and is_parametrized(found, name):
        with evaluating(found):
            return getattr(found, name)
    return getattr(found, name, None)


def _identity(child: nn.Embedding) -> int:
    """A number that embeddings with one table share; a parametrization makes a new tensor at each reading."""
    return id(child) if is_parametrized(child, "weight") else id(child.weight)


def _two_dimensional(found: Any) -> bool:
    table = _tensor(found)
    return isinstance(table, Tensor) and table.ndim == 2


def _embeddings(module: nn.Module) -> list[tuple[str, nn.Embedding]]:
    return [(_plain(path), child) for path, child in module.named_modules() if isinstance(child, nn.Embedding)]


def _candidates(module: nn.Module) -> str:
    tables = {path: _attribute(child, "weight") for path, child in _embeddings(module)}
    embedded = {id(table) for table in tables.values()}
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.ndim == 2 and id(tensor) not in embedded:
            tables[_plain(path)] = tensor
    listed = [f"{path} {tuple(table.shape)}" for path, table in tables.items()]
    return f"candidates: {', '.join(listed[:20]) or 'none'}"


def _plain(path: str) -> str:
    return path.replace("_orig_mod.", "")  # inserted by torch.compile; attributes are found without it
