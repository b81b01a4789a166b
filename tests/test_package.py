"""What `import charlm` gives, and how little it loads."""

import importlib
import pkgutil
import subprocess
import sys

import charlm
from charlm.cli import commands


def loaded_after(code):
    """Names of the heavy packages that a fresh interpreter has loaded after running `code`."""
    report = "import sys; print(*{'torch', 'lightning', 'matplotlib', 'numpy'}.intersection(sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy():
    code = "import charlm.callbacks as c, charlm; dir(c); assert set(charlm.__all__) <= set(dir(charlm))"
    assert loaded_after(code) == set()


def test_the_commands_without_a_trainer_load_torch_but_neither_lightning_nor_matplotlib():
    files = [found.name for found in pkgutil.walk_packages(commands.__path__, "charlm.cli.commands.")]
    assert len(files) >= 7
    assert loaded_after("import " + ", ".join(files)) & {"torch", "lightning", "matplotlib"} == {"torch"}


def test_every_public_name_resolves():
    for name in charlm.__all__:
        value = getattr(charlm, name)
        if name != "__version__":
            assert value.__name__ == name
            assert value is getattr(importlib.import_module(value.__module__), name)
            assert value.__doc__, f"charlm.{name} has no docstring"
