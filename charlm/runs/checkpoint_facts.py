"""The sizes of a checkpoint's net, read in a millisecond, without torch and without its weights."""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from charlm.runs.settings import model_name


def checkpoint_facts(path: Path) -> dict[str, Any]:
    """The "model", its "block_size", "parameters", "n_embd" and "n_hidden", its "step", the "sha256" of its names.

    What the file does not have is left out. Nothing is checked: for a table of runs, not to use the net.

    Args:
        path: a checkpoint of this version of charlm.

    Raises:
        OSError: no such file, or no permission to read it.
        ValueError: any other file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            data = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            content = _Reader(io.BytesIO(archive.read(data))).load()
        entry, settings, names = content["charlm"], content["hyper_parameters"], content.get("NamesDataModule") or {}
        model = model_name(entry.get("model") or entry["net"])
        facts = {"model": model, "step": content.get("global_step"), "sha256": names.get("sha256")}
        facts |= {key: entry.get(key) for key in ("block_size", "parameters")}
        facts |= {key: settings.get(key) for key in ("n_embd", "n_hidden")}
    except OSError:
        raise
    except Exception as error:  # zipfile and pickle raise anything for a damaged file
        raise ValueError(f"{path} is not a checkpoint of this version of charlm") from error
    return {key: value for key, value in facts.items() if value is not None}


class _Ignored:
    """Stands in for every class and function, so that none is called."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _Ignored

    def persistent_load(self, _: Any) -> None:
        return None
