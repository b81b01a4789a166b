"""Classes of the user's own, in modules of the working folder."""

import os
import re
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from charlm.models.registry import LitCharLM

_MODULE = re.compile(r"\b([^\W\d]\w*)\.\w")


def find_own_modules(settings: Iterable[object]) -> None:
    """Let Python import from the working folder, after all other places, if a setting names a module in it.

    The settings are those of the command line and of configs, which may name any code, and never a checkpoint's.
    """
    modules = {name for setting in settings for name in _MODULE.findall(str(setting))}
    if any(Path(f"{name}.py").is_file() or any(Path(name).glob("*.py")) for name in modules):
        sys.path.append(os.getcwd())


def is_model(class_path: str) -> bool:
    """Whether a model can be imported by its module and class name; if not, the parser says why.

    Raises:
        ValueError: the class is not a subclass of LitCharLM.
    """
    module, _, name = class_path.rpartition(".")
    try:
        kind = getattr(import_module(module), name, None)
    except (ImportError, TypeError, ValueError):  # also for a path that is no path
        return False
    if isinstance(kind, type) and not issubclass(kind, LitCharLM):
        raise ValueError(f"--model is {class_path}, which is not a subclass of charlm.LitCharLM, such as charlm.LitMLP")
    return kind is not None


def check_model(class_path: str, checkpoint: Path) -> None:
    """Refuse a checkpoint whose model cannot be imported, as where its run was moved to another folder.

    Raises:
        ValueError: it cannot, or the class is not a subclass of LitCharLM.
    """
    if not is_model(class_path):
        raise ValueError(
            f"{checkpoint} holds a {class_path}, which cannot be imported; put its module into the working folder, or"
            " install it"
        )
