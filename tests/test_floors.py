"""Imports point down only: the floors of the design, kept by reading the sources."""

import ast
from collections import deque
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = [  # from the ground up; "nets." is every file of nets/ that is not named by itself
    {"nets.sizes", "nets.layers", "nets.masks", "nets.packing", "nets.mlp_gradients", "nets.gru_gradients"}
    | {"callbacks.lettering", "shortened"},
    {"nets.recurrence"},
    {
        "tokenizer",
        "nets.",
        "figures",
        "curves",
        "events",
        "loss",
        "callbacks.",
        "data.download",
        "data.text_blocks",
        "data.shuffle",
        "nearest",
        "optimizers",
        "runs",
        "step_mean",
        "threads",
    },
    {
        "data.corpus",
        "data.contexts",
        "checkpoints",
        "parsers",
        "bare_names",
        "fit_callbacks",
        "loggers",
        "choosing",
        "walks",
        "commands.text",
        "nets.ensemble",
    },
    {"counts", "data.splits", "data.batches", "data.sequences", "resuming", "lit_loading", "traced"},
    {
        "sampling",
        "scoring",
        "arguments",
        "data.name_batches",
        "data.resumable_loader",
        "learnt_bigram",
        "exporting",
        "rank_weight",
    },
    {"lit_char_lm", "data.datamodule", "commands.table", "commands.training_names"},
    {"lit_names"},
    {"lightning_modules", "commands."},
    {"commands.line", "report"},
    {"sweep_trainer"},
    {"trainer_cli"},
    {"cli"},
    {"__main__", "scripts."},
]
PLAIN_TORCH = {  # what starts in the time that torch takes
    *{"tokenizer", "runs", "nets.", "figures", "curves", "loss", "counts", "sampling", "checkpoints", "commands."},
    *{"choosing", "walks", "scoring", "data.sequences", "optimizers", "exporting", "traced"},
    *{"events", "data.download", "data.text_blocks", "data.corpus", "data.contexts", "data.splits"},
}
LIGHTNING = {"lightning", "pytorch_lightning", "lightning_fabric"}
LINES = 250


def module_name(path):
    """charlm/data/corpus.py -> data.corpus, scripts/day10_mlp.py -> scripts.day10_mlp."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[1:] if parts[0] == "charlm" else parts)


SOURCES = {module_name(p): p for p in sorted([*ROOT.glob("charlm/**/*.py"), *ROOT.glob("scripts/**/*.py")])}
PACKAGES = {name.removesuffix("__init__").rstrip(".") for name in SOURCES if name.split(".")[-1] == "__init__"}
FILES = sorted(name for name in SOURCES if name.split(".")[-1] != "__init__")


def imported(name, source):
    """Every import in `source` as an absolute dotted name, `from a import b` as a.b, import_module("a.b") as a.b."""
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


def charlm_file(target):
    """charlm.data.corpus.Corpus -> data.corpus; "" where a package's __init__ is meant."""
    path = target.removeprefix("charlm").lstrip(".")
    while path and path not in FILES:
        path = path.rpartition(".")[0]
    return path


def charlm_imports(name):
    targets = imported(name, SOURCES[name].read_text(encoding="utf-8"))
    return [t for t in targets if t.split(".")[0] == "charlm" and t != "charlm.__version__"]


def belongs(name, entries):
    return any(name == entry or (entry.endswith(".") and name.startswith(entry)) for entry in entries)


def floor(name):
    whole = [number for number, names in enumerate(FLOORS) if name in names]
    return next(iter(whole + [number for number, names in enumerate(FLOORS) if belongs(name, names)]), None)


def test_the_reader_sees_every_way_to_import():
    source = """
import a.b
from ..tokenizer import X
from . import corpus
def f():
    from charlm.loss import nats
    import_module("charlm.counts")
"""
    expected = {"a.b", "charlm.tokenizer.X", "charlm.data.corpus", "charlm.loss.nats", "charlm.counts"}
    assert set(imported("data.splits", source)) == expected


@pytest.mark.parametrize("name", FILES)
def test_every_file_has_a_floor(name):
    assert floor(name) is not None, f"{SOURCES[name]} has no floor: name it in the design and in FLOORS"


@pytest.mark.parametrize("entry", [entry for names in FLOORS for entry in sorted(names)])
def test_every_name_in_the_table_is_a_file(entry):
    assert any(belongs(name, [entry]) for name in FILES)


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("callbacks.")])
def test_imports_point_down(name):
    for target in charlm_imports(name):
        below = charlm_file(target)
        assert below, f"{name} imports {target} from a package; import it from its file"
        assert floor(below) < floor(name), f"{name} imports {below}, which is not on a floor below it"


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("callbacks.")])
def test_a_callback_can_be_lifted_into_another_project(name):
    for target in charlm_imports(name):
        assert charlm_file(target).startswith("callbacks."), f"{name} imports {target}"


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_a_package_file_imports_at_most_its_own_files(package):
    """Import circles begin in an __init__; charlm's own imports its names for type checkers only."""
    name = f"{package}.__init__".lstrip(".")
    tree = ast.parse(SOURCES[name].read_text(encoding="utf-8"))
    if not package:
        tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    targets = [t for t in imported(name, ast.unparse(tree)) if t.split(".")[0] == "charlm"]
    own = "callbacks." if package == "callbacks" else "nothing"
    assert [t for t in targets if not charlm_file(t).startswith(own)] == []


@pytest.mark.parametrize("name", [name for name in FILES if belongs(name, PLAIN_TORCH)])
def test_plain_torch_reaches_no_lightning(name):
    ways = deque([(name,)])
    seen = {name}
    while ways:
        way = ways.popleft()
        targets = list(imported(way[-1], SOURCES[way[-1]].read_text(encoding="utf-8")))
        assert not LIGHTNING.intersection(t.split(".")[0] for t in targets), f"lightning by way of {' -> '.join(way)}"
        for file in {charlm_file(t) for t in targets if t.split(".")[0] == "charlm"} - seen - {""}:
            seen.add(file)
            ways.append((*way, file))


@pytest.mark.parametrize("name", FILES)
def test_figures_are_never_drawn_through_pyplot(name):
    targets = imported(name, SOURCES[name].read_text(encoding="utf-8"))
    assert not [t for t in targets if "pyplot" in t or "pylab" in t]


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_file_is_short_enough_to_read(name):
    assert len(SOURCES[name].read_text(encoding="utf-8").splitlines()) <= LINES
