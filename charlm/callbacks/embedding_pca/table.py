"""Find an embedding table in a module, by its dotted name or because it is the only one."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from charlm.callbacks.shared.trainer_state import undisturbed


def find_table(module: nn.Module, name: str | None = None) -> str:
    """The dotted name of an embedding in `module`: an nn.Embedding, or a parameter or buffer with two dimensions.

    Args:
        module: where to look.
        name: what was asked for; None for the only nn.Embedding there is (those that share one table count once).

    Raises:
        ValueError: no such table, or no single one; the message lists those there are. Or one that has no rows or
            columns, is sparse, or has complex values.
    """
    if name is not None:
        if _two_dimensional(_get(module, name)):
            return _usable(module, name)
        raise ValueError(f"{type(module).__name__} has no table {name!r}; {_candidates(module)}")
    tables = {_identity(child): path for path, child in reversed(_embeddings(module))}
    if len(tables) == 1:
        return _usable(module, tables.popitem()[1])
    found = f"{len(tables)} nn.Embedding modules" if tables else "no nn.Embedding"
    raise ValueError(f"{type(module).__name__} has {found}, so the table must be named; {_candidates(module)}")


def get_table(module: nn.Module, name: str) -> Tensor:
    """The table (V, C) of that name, whole where it is spread over processes (then all of them must call this).

    One that a parametrization computes, such as spectral_norm, is that of eval mode, and training is left as it is.

    Raises:
        ValueError: no such table.
    """
    found = _get(module, name)
    table: Any = _attribute(found, "weight") if isinstance(found, nn.Module) else found
    if not isinstance(table, Tensor):
        raise ValueError(f"{type(module).__name__} has no table {name!r} any more")
    table = (table.full_tensor() if hasattr(table, "full_tensor") else table).detach()
    # little can be done with numbers of 8 bits
    return table.float() if table.is_floating_point() and table.itemsize == 1 else table


def _get(module: nn.Module, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = _attribute(found, part)
    return found


def _attribute(found: Any, name: str) -> Any:
    """An attribute, None where there is none. Parametrizations may draw random numbers and change at each reading."""
    if isinstance(found, nn.Module) and is_parametrized(found, name):
        with undisturbed(found):
            return getattr(found, name)
    return getattr(found, name, None)


def _identity(child: nn.Embedding) -> int:
    """A number that embeddings with one table share; one that is computed is a new tensor at each reading."""
    return id(child) if is_parametrized(child, "weight") else id(child.weight)


def _two_dimensional(found: Any) -> bool:
    table = _attribute(found, "weight") if isinstance(found, nn.Module) else found
    return isinstance(table, Tensor) and table.ndim == 2


def _usable(module: nn.Module, name: str) -> str:
    table = get_table(module, name)
    if table.layout != torch.strided:
        problem = "is sparse; register a dense copy of it as a buffer and name that"
    elif table.is_complex():
        problem = "has complex values; register its real part or its size as a buffer and name that"
    elif not table.numel():
        problem = "has no values; name one that has rows and columns"
    else:
        return name
    raise ValueError(f"{type(module).__name__}'s table {name} {tuple(table.shape)} {problem}. {_candidates(module)}")


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
    return path.replace("_orig_mod.", "")  # put in by torch.compile; attributes are found without it
