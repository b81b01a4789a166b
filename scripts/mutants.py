"""Source code with one small fault in it: what scripts/mutate.py puts before the tests.

Changed are a comparison, an operator, `and` and `or`, a number, a truth value, a text, a condition turned round, `not`
or a sign left out, a returned value or a statement left out, defaults of arguments among them. Not changed are
docstrings, annotations, decorators, imports, and formatted texts, which are messages as a rule.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_SWAPS: dict[type[ast.AST], Any] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult},
    **{ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd},
}


@dataclass(frozen=True)
class Mutant:
    """One change: in which file, which bytes of it, and what stands there instead.

    `lines` are those of which one runs where the change is met.
    """

    file: str
    line: int
    lines: range
    start: int
    stop: int
    old: str
    new: str

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}:{self.line}: {old[:70]}  ->  {new[:70]}"


def mutants_of(file: str, source: bytes) -> Iterator[Mutant]:
    """Every mutant of a file."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    parts = [part for part in ast.walk(tree) if isinstance(part, ast.stmt)]
    for node, new in changes(tree):
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
        lines = lines_of(node, parts) or range(1, len(starts))
        yield Mutant(file, node.lineno, lines, first, last, source[first:last].decode(), new)


def lines_of(node: ast.expr | ast.stmt, parts: list[ast.stmt]) -> range | None:
    """Of the statement; of what an import runs, as defaults and constants, those of the function or class.

    None where it is in neither.
    """
    around: list[Any] = [part for part in parts if is_in(node, part)]
    around.sort(key=lambda part: (part.lineno, part.col_offset))  # from the outermost to the innermost
    scopes = [part for part in around if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]
    if not scopes:
        return None
    last, scope = around[-1], scopes[-1]
    if isinstance(scope, ast.ClassDef) or last is scope:
        return range(scope.lineno, (scope.end_lineno or 0) + 1)
    body = getattr(last, "body", None)
    end = max(body[0].lineno - 1, last.lineno) if body else last.end_lineno or 0
    return range(last.lineno, end + 1)


def is_in(node: ast.expr | ast.stmt, part: ast.stmt) -> bool:
    """Whether a part of the source is within another."""
    first, last = (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
    starts, ends = (part.lineno, part.col_offset), (part.end_lineno or 0, part.end_col_offset or 0)
    return starts <= first and last <= ends


def changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Nodes, and the source to stand in their place."""
    for node in walk(tree):
        if isinstance(node, ast.expr):
            yield from ((node, f"({ast.unparse(new)})") for new in changed_expressions(node))
        elif isinstance(node, ast.stmt):
            yield from ((node, new) for new in changed_statements(node))
        tests = [node.test] if isinstance(node, ast.If | ast.IfExp) else getattr(node, "ifs", [])
        yield from ((test, f"(not ({ast.unparse(test)}))") for test in tests)


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that may be changed: none of annotations, decorators, docstrings, formatted texts or imports."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            kind = isinstance(child, ast.Subscript) and ast.unparse(child.value) == "Literal"
            types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"  # imports
            left = text or kind or types or isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom)
            if isinstance(child, ast.AST) and not left:
                yield child
                yield from walk(child)


def changed_expressions(node: ast.expr) -> Iterator[ast.expr]:
    """What may stand for an expression."""
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            yield ast.Compare(node.left, [*node.ops[:at], _SWAPS[type(op)](), *node.ops[at + 1 :]], node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in _SWAPS and not is_text(node):
        yield ast.BinOp(node.left, _SWAPS[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(_SWAPS[type(node.op)](), node.values)
    elif isinstance(node, ast.UnaryOp):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield ast.Constant(f"X{node.value}")


def is_text(node: ast.AST) -> bool:
    """Whether it is part of a message."""
    return any(isinstance(part, ast.JoinedStr) for part in ast.walk(node))


def keeps(node: ast.stmt) -> bool:
    """Whether it puts a value into an object."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)


def changed_statements(node: ast.stmt) -> Iterator[str]:
    """What may stand for a statement."""
    if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield "return None"
    elif isinstance(node, ast.Expr | ast.AugAssign | ast.Raise) or keeps(node):
        yield "pass"
    elif isinstance(node, ast.Break):
        yield "continue"
    elif isinstance(node, ast.Continue):
        yield "break"
