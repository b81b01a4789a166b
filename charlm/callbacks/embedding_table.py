"""Find an embedding table in a module, by its dotted name or because it is the only one."""

from typing import Any

from torch import Tensor, nn


def find_table(module: nn.Module, name: str | None = None) -> str:
    """The dotted name of an embedding in `module`: an nn.Embedding, or a parameter or buffer with two dimensions.

    Args:
        module: where to look.
        name: what was asked for; None for the only nn.Embedding there is (those that share one table count once).

    Raises:
        ValueError: no such table, or no single one; the message lists those there are.
    """
    if name is not None:
        if _two_dimensional(_get(module, name)):
            return name
        raise ValueError(f"{type(module).__name__} has no table {name!r}; {_candidates(module)}")
    tables = {id(child.weight): path for path, child in reversed(_embeddings(module))}
    if len(tables) == 1:
        return tables.popitem()[1]
    found = f"{len(tables)} nn.Embedding modules" if tables else "no nn.Embedding"
    raise ValueError(f"{type(module).__name__} has {found}, so the table must be named; {_candidates(module)}")


def get_table(module: nn.Module, name: str) -> Tensor:
    """The table (V, C) of that name, whole where it is spread over processes (then all of them must call this)."""
    found = _get(module, name)
    table: Any = found.weight if isinstance(found, nn.Module) else found
    return (table.full_tensor() if hasattr(table, "full_tensor") else table).detach()


def _get(module: nn.Module, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _two_dimensional(found: Any) -> bool:
    table = getattr(found, "weight", None) if isinstance(found, nn.Module) else found
    return isinstance(table, Tensor) and table.ndim == 2


def _embeddings(module: nn.Module) -> list[tuple[str, nn.Embedding]]:
    return [(_plain(path), child) for path, child in module.named_modules() if isinstance(child, nn.Embedding)]


def _candidates(module: nn.Module) -> str:
    tables = {path: child.weight for path, child in _embeddings(module)}
    embedded = {id(table) for table in tables.values()}
    for path, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.ndim == 2 and id(tensor) not in embedded:
            tables[_plain(path)] = tensor
    listed = [f"{path} {tuple(table.shape)}" for path, table in tables.items()]
    return f"candidates: {', '.join(listed[:20]) or 'none'}"


def _plain(path: str) -> str:
    return path.replace("_orig_mod.", "")  # put in by torch.compile; attributes are found without it
