import importlib
import importlib.metadata
import json
import subprocess
import sys

import pytest

import charlm

HEAVY = ("torch", "lightning", "matplotlib", "numpy")
PLAIN = (
    "tokenizer",
    "loss",
    "counts",
    "figures",
    "curves",
    "events",
    "sampling",
    "checkpoints",
    "nets.bigram",
    "nets.mlp",
    "data.corpus",
    "data.contexts",
    "data.splits",
)
COMMANDS = ("sample", "score", "export", "summary", "plot", "dashboard", "compare_counts")


def loaded_after(code):
    """Names of the heavy packages that a fresh interpreter holds after running `code`."""
    report = f"import json, sys; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import charlm; dir(charlm); charlm.__version__") == []


def test_what_needs_no_trainer_loads_torch_but_neither_lightning_nor_matplotlib():
    files = [*PLAIN, *(f"commands.{name}" for name in COMMANDS)]
    code = "import " + ", ".join(f"charlm.{name}" for name in files)
    assert {"torch", "lightning", "matplotlib"}.intersection(loaded_after(code)) == {"torch"}


@pytest.mark.parametrize("name", charlm.__all__)
def test_every_public_name_resolves(name):
    value = getattr(charlm, name)
    assert value is getattr(charlm, name)
    if name != "__version__":
        assert value.__name__ == name
        assert value is getattr(importlib.import_module(value.__module__), name)
        assert value.__doc__, f"charlm.{name} has no docstring"


def test_dir_lists_the_public_names_before_they_are_used():
    code = "import charlm; assert set(charlm.__all__) <= set(dir(charlm))"
    assert loaded_after(code) == []


def test_a_star_import_brings_the_public_names():
    namespace = {}
    exec("from charlm import *", namespace)
    assert set(charlm.__all__) <= set(namespace)


def test_an_unknown_name_gets_a_list_of_those_that_exist():
    with pytest.raises(AttributeError, match=r"no attribute 'LitGPT'; its public names are GRU, .*, score_names"):
        _ = charlm.LitGPT


def test_the_version_is_the_one_that_was_installed():
    assert importlib.metadata.version("charlm") == charlm.__version__


def test_python_dash_m_charlm_is_the_command():
    done = subprocess.run([sys.executable, "-m", "charlm", "--help"], capture_output=True, text=True, check=True)
    for subcommand in ("fit", "validate", "test", "predict", "sample", "score", "summary", "plot", "dashboard"):
        assert subcommand in done.stdout
