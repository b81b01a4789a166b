"""The rules of the house, checked by reading the sources: who may import what, and what a folder may show."""

import ast
import re
import sys
from collections import deque
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHARLM = ROOT / "charlm"
FLOORS = [  # from the ground up; the rooms of one floor do not import each other
    {"messages", "callbacks"},
    {"tokenizer"},
    {"nets", "data"},
    {"runs"},
    {"inference"},
    {"models", "data.datamodule"},
    {"cli"},
    {"__main__", "scripts"},
]
NEEDS_LIGHTNING = ("callbacks", "models", "data.datamodule", "runs.logger", "cli.trainer")
WITHOUT_LIGHTNING = tuple(f"callbacks.shared.{file}" for file in ("archive", "evaluating", "fonts", "render"))
LIGHTNING = {"lightning", "pytorch_lightning", "lightning_fabric"}
CALLBACKS_MAY_IMPORT = {
    *("charlm", "torch", "matplotlib", "numpy", "PIL", "tensorboard", "torchmetrics", "tqdm"),
    *sys.stdlib_module_names,
}


def module_name(path):
    """charlm/data/corpus.py -> data.corpus, charlm/data/__init__.py -> data, scripts/run.py -> scripts.run."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in (parts[1:] if parts[0] == "charlm" else parts) if part != "__init__")


SOURCES = {module_name(p): p for p in sorted([*CHARLM.rglob("*.py"), *ROOT.glob("scripts/**/*.py")])}
PACKAGES = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
FILES = sorted(SOURCES.keys() - PACKAGES)
CALLBACKS = [name for name in FILES if name.startswith("callbacks.")]


def imported(name, source):
    """Every import in `source` as an absolute dotted name: `from a import b` and import_module("a.b") give a.b."""
    package = ["charlm", *name.split(".")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and arg.value[:1] != ".")


@cache
def targets_of(name):
    return list(imported(name, SOURCES[name].read_text(encoding="utf-8")))


def charlm_file(target):
    """charlm.data.corpus.Corpus -> data.corpus; a package where its __init__ is meant."""
    path = target.removeprefix("charlm").lstrip(".")
    while path and path not in SOURCES:
        path = path.rpartition(".")[0]
    return path


@cache
def charlm_imports(name):
    """The files of charlm that a file imports, including imports for type checkers."""
    targets = [t for t in targets_of(name) if t.split(".")[0] == "charlm" and t != "charlm.__version__"]
    return sorted({charlm_file(target) for target in targets} - {name})


def within(name, rooms):
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def floor(name):
    """(number, room) of the closest entry of FLOORS."""
    found = [(number, room) for number, rooms in enumerate(FLOORS) for room in rooms if within(name, [room])]
    return max(found, key=lambda entry: len(entry[1]))


def callback_room(name):
    """charlm.callbacks.lr_finder.rules -> lr_finder."""
    return name.split(".")[1]


def test_the_reader_sees_every_way_to_import():
    source = """
import a.b
from ..tokenizer import X
from . import corpus
def f():
    from charlm.nets.loss import nats
    import_module("charlm.nets.counts")
"""
    expected = {"a.b", "charlm.tokenizer.X", "charlm.data.corpus", "charlm.nets.loss.nats", "charlm.nets.counts"}
    assert set(imported("data.splits", source)) == expected


def test_imports_point_down():
    pairs = [(name, below) for name in FILES for below in charlm_imports(name)]
    assert [
        f"{name} imports from a package, not from a file: {below}" for name, below in pairs if below in PACKAGES
    ] == []
    assert [
        f"{name} imports {below}, which is not below it" for name, below in pairs if not is_below(below, name)
    ] == []


def is_below(file, name):
    return floor(file)[0] < floor(name)[0] or floor(file)[1] == floor(name)[1]


def test_no_files_import_each_other():
    try:
        TopologicalSorter({name: charlm_imports(name) for name in FILES}).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def test_no_callback_imports_another_one():
    """What two callbacks need is in shared/, which may import internals/."""
    for name in CALLBACKS:
        may = {callback_room(name), "internals"} | ({"shared"} if callback_room(name) != "internals" else set())
        assert {callback_room(target) for target in charlm_imports(name)} <= may, name


def test_a_callback_can_be_lifted_into_another_project():
    """One file imports Lightning for all of them, by the name that the project uses."""
    for name in CALLBACKS:
        may = CALLBACKS_MAY_IMPORT | (LIGHTNING if name == "callbacks.internals.lightning" else set())
        assert {target.split(".")[0] for target in targets_of(name)} <= may, name
        assert all(target.startswith("callbacks.") for target in charlm_imports(name)), name


def test_a_package_file_hands_on_its_own_files_only():
    """Import circles begin in an __init__; charlm's own imports its names for type checkers only."""
    for package in PACKAGES:
        tree = ast.parse(SOURCES[package].read_text(encoding="utf-8"))
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
        targets = [charlm_file(t) for t in imported(f"{package}.x", ast.unparse(tree)) if t.split(".")[0] == "charlm"]
        assert set(targets) <= ({f"{package}.callback"} if package.startswith("callbacks.") else set()), package


def test_lightning_is_loaded_only_where_it_is_needed():
    may = (*NEEDS_LIGHTNING, "scripts", "cli.main", "__main__")
    for name in FILES:
        if within(name, WITHOUT_LIGHTNING) or not within(name, may):
            ways, seen = deque([(name,)]), {name}
            while ways:
                way = ways.popleft()
                used = LIGHTNING & {target.split(".")[0] for target in targets_of(way[-1])}
                assert not used, f"Lightning by way of {' -> '.join(way)}"
                for file in set(charlm_imports(way[-1])) - seen:
                    seen.add(file)
                    ways.append((*way, file))


def test_figures_are_never_drawn_through_pyplot():
    targets = [(name, target) for name in FILES for target in targets_of(name)]
    assert [found for found in targets if "pyplot" in found[1] or "pylab" in found[1]] == []


def test_a_file_is_short_enough_to_read():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in SOURCES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > 250} == {}


def shown(folder):
    return {path.name for path in folder.iterdir()} - {"README.md", "__pycache__"}


def test_the_top_of_the_package_is_a_table_of_contents():
    assert len(shown(CHARLM)) <= 13


def test_the_callbacks_folder_lists_the_public_callbacks():
    from charlm import callbacks

    rooms = {callbacks._FILE_OF[name].split(".")[0] for name in callbacks.__all__ if name != "ResumableLoader"}
    rooms |= {"shared", "internals", "__init__"}
    assert {name.removesuffix(".py") for name in shown(CHARLM / "callbacks")} == rooms


def test_each_folder_says_what_is_in_it():
    folders = [*sorted({path.parent for path in CHARLM.rglob("*.py")}), ROOT / "scripts"]
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "README.md").is_file()] == []
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in CHARLM.rglob("README.md")}
    assert {str(file.relative_to(ROOT)): lines for file, lines in lengths.items() if lines > 60} == {}


def test_the_top_readme_is_for_users():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 2000


def test_nothing_installs_somebody_elses_charlm():
    """The name charlm on PyPI belongs to another project; ours is lightning-charlm."""
    files = [*SOURCES.values(), *CHARLM.rglob("README.md"), *ROOT.glob("scripts/**/*.md"), ROOT / "README.md"]
    wrong = re.compile(r"pip install ['\"]?charlm\b")
    assert [str(file.relative_to(ROOT)) for file in files if wrong.search(file.read_text(encoding="utf-8"))] == []
