"""The rules of the house, kept by reading the sources: who may import whom, and what a folder may show."""

import ast
from collections import deque
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHARLM = ROOT / "charlm"
FLOORS = [  # from the ground up; rooms on one floor do not import each other
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
WITHOUT_LIGHTNING = ("callbacks.shared.archive", "callbacks.shared.fonts", "callbacks.shared.render")
LIGHTNING = {"lightning", "pytorch_lightning", "lightning_fabric"}
CALLBACKS_MAY_IMPORT = {
    "charlm",
    "torch",
    "lightning",
    "matplotlib",
    "numpy",
    "PIL",
    "tensorboard",
    "torchmetrics",
    "tqdm",
}
LINES = 250


def module_name(path):
    """charlm/data/corpus.py -> data.corpus, charlm/data/__init__.py -> data, scripts/run.py -> scripts.run."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in (parts[1:] if parts[0] == "charlm" else parts) if part != "__init__")


SOURCES = {module_name(p): p for p in sorted([*CHARLM.rglob("*.py"), *ROOT.glob("scripts/**/*.py")])}
PACKAGES = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
FILES = sorted(SOURCES.keys() - PACKAGES)


def imported(name, source):
    """Every import in `source` as an absolute dotted name: `from a import b` as a.b, import_module("a.b") as a.b."""
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


def targets_of(name):
    return list(imported(name, SOURCES[name].read_text(encoding="utf-8")))


def charlm_file(target):
    """charlm.data.corpus.Corpus -> data.corpus; a package where its __init__ is meant."""
    path = target.removeprefix("charlm").lstrip(".")
    while path and path not in SOURCES:
        path = path.rpartition(".")[0]
    return path


def charlm_imports(name):
    """The files of charlm that a file imports, those for type checkers included."""
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


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down(name):
    for below in charlm_imports(name):
        assert below not in PACKAGES, f"{name} imports from the package {below or 'charlm'}; import from the file"
        number, room = floor(below)
        assert number < floor(name)[0] or room == floor(name)[1], f"{name} imports {below}, which is not below it"


def test_no_files_import_each_other():
    try:
        TopologicalSorter({name: charlm_imports(name) for name in FILES}).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("callbacks.")])
def test_no_callback_imports_another_one(name):
    shared = {"shared", "internals"} if callback_room(name) != "internals" else {"internals"}
    rooms = {callback_room(target) for target in charlm_imports(name)}
    own = {callback_room(name)} - (set() if callback_room(name) in shared else {"internals"} - shared)
    assert rooms <= shared | own


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("callbacks.")])
def test_a_callback_can_be_lifted_into_another_project(name):
    others = {target.split(".")[0] for target in targets_of(name)} - set(__import__("sys").stdlib_module_names)
    assert others <= CALLBACKS_MAY_IMPORT
    assert all(target.startswith("callbacks.") for target in charlm_imports(name))


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_file_hands_on_its_own_files_only(package):
    """Import circles begin in an __init__; charlm's own imports its names for type checkers only."""
    tree = ast.parse(SOURCES[package].read_text(encoding="utf-8"))
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    targets = [charlm_file(t) for t in imported(f"{package}.x", ast.unparse(tree)) if t.split(".")[0] == "charlm"]
    assert set(targets) <= ({f"{package}.callback"} if package.startswith("callbacks.") else set())


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in FILES
        if within(n, WITHOUT_LIGHTNING) or not within(n, (*NEEDS_LIGHTNING, "scripts", "cli.main", "__main__"))
    ],
)
def test_lightning_is_loaded_where_it_is_needed_alone(name):
    ways, seen = deque([(name,)]), {name}
    while ways:
        way = ways.popleft()
        assert not LIGHTNING & {t.split(".")[0] for t in targets_of(way[-1])}, f"Lightning by way of {' -> '.join(way)}"
        for file in set(charlm_imports(way[-1])) - seen:
            seen.add(file)
            ways.append((*way, file))


@pytest.mark.parametrize("name", FILES)
def test_figures_are_never_drawn_through_pyplot(name):
    assert not [target for target in targets_of(name) if "pyplot" in target or "pylab" in target]


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_file_is_short_enough_to_read(name):
    assert len(SOURCES[name].read_text(encoding="utf-8").splitlines()) <= LINES


def shown(folder):
    return {path.name for path in folder.iterdir()} - {"README.md", "__pycache__"}


def test_the_top_of_the_package_is_a_table_of_contents():
    assert len(shown(CHARLM)) <= 13


def test_the_callbacks_folder_lists_the_public_callbacks():
    from charlm import callbacks

    rooms = {callbacks._FILE_OF[name] for name in callbacks.__all__} | {"shared", "internals", "__init__"}
    assert {name.removesuffix(".py") for name in shown(CHARLM / "callbacks")} == rooms


@pytest.mark.parametrize("folder", sorted({path.parent for path in CHARLM.rglob("*.py")}))
def test_each_folder_says_what_is_in_it(folder):
    assert len((folder / "README.md").read_text(encoding="utf-8").splitlines()) <= 60
