"""Which statements of a notebook its graded functions need: a slice of the program (Weiser, 1981).

Nothing but the standard library: this file also stands in the sandbox. A notebook is full of what
nobody asked for: plots, trainings, tests that fail. So only its definitions run, and of the rest
what makes or changes a global that a graded function reads, directly or through what it calls::

    CORNERS = []                        # a definition
    for k in range(2):
        CORNERS.append((k, k + 2))      # needed where box_iou reads CORNERS
    show(box_iou(boxes, boxes))         # not needed
"""
from __future__ import annotations

import ast
import builtins
import dis
import types

DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
HARMLESS = {*dir(builtins), "display"} - {"setattr", "delattr", "next", "exec"}     # change nothing


def is_definition(node: ast.stmt) -> bool:
    """Imports, functions, classes and constants: what may run before any demonstration does."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return not any(isinstance(part, ast.Call) for part in ast.walk(node))
    return isinstance(node, (*IMPORTS, *DEFINES))


def needed(statements: list[ast.stmt], functions) -> list[bool]:
    """Of each statement of a program, whether to run it so that these functions can be called.

    Arguments:
        functions: the names of the graded ones; where there are none, all that are defined.
    """
    others = aliases(statements)
    effects = [(read, bound, handed | {others[name] for name in handed & set(others)})
               for read, bound, handed in map(effect, statements)]
    imported = {name for node, (_, bound, _) in zip(statements, effects)
                if isinstance(node, IMPORTS) for name in bound}
    variables = set().union(*(bound for _, bound, _ in effects)) - imported - set(dir(builtins))
    roots = set(functions) or {node.name for node in statements if isinstance(node, DEFINES)}
    wanted, setters, before = set(roots), set(), None

    def makes(node, read, bound, handed) -> bool:
        return not isinstance(node, DEFINES) and bool(
            (bound | handed) & wanted & variables or read & setters)
    while before != (len(wanted), len(setters)):
        before = len(wanted), len(setters)
        for node, (read, bound, handed) in zip(statements, effects):
            if isinstance(node, DEFINES) and node.name not in roots and (
                    (bound | handed) & wanted & variables):
                setters.add(node.name)
            if getattr(node, "name", None) in wanted | setters or makes(node, read, bound, handed):
                wanted |= read
    return [is_definition(node) or makes(node, *parts) for node, parts in zip(statements, effects)]


def effect(node: ast.stmt) -> tuple[set[str], set[str], set[str]]:
    """Globals that a statement reads, binds, and hands on to where they may change, with what is
    inside its functions; a definition's own name is not among those bound."""
    try:
        code = compile(ast.Module([node], []), "effect", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(), set(), set()      # it will not run either
    read, bound = names(code)
    return read, bound - {getattr(node, "name", None)}, read & handed_on(node)


def names(code: types.CodeType, outermost: bool = True) -> tuple[set[str], set[str]]:
    """(globals read, globals bound) by code and the functions in it."""
    read, bound = set(), set()
    for step in dis.get_instructions(code):
        if step.opname.startswith("LOAD_") and step.opname.endswith(("_NAME", "GLOBAL", "GLOBALS")):
            read.add(step.argval)
        elif step.opname in ("STORE_GLOBAL", "DELETE_GLOBAL") or outermost and step.opname in (
                "STORE_NAME", "DELETE_NAME"):       # further in, a name of a class's own
            bound.add(step.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more = names(inner, outermost=False)
            read, bound = read | more[0], bound | more[1]
    return read, bound


def aliases(statements: list[ast.stmt]) -> dict[str, str]:
    """Name -> the other name of the same object, or of what it is a part of: ``row = table[0]``."""
    found = {}
    for node in statements:
        if isinstance(node, ast.Assign) and (name := root(node.value)):
            name = found.get(name, name)
            found |= {one.id: name for one in node.targets if isinstance(one, ast.Name)}
    return found


def handed_on(node: ast.stmt) -> set[str]:
    """Names whose value a statement may change in place: an element or attribute is set, a method
    called, or a call that is there for its effect has it as an argument."""
    found = set()
    for part in ast.walk(node):
        if isinstance(part, (ast.Subscript, ast.Attribute)) and not isinstance(part.ctx, ast.Load):
            found.add(root(part))
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            found.add(root(part.func))
        elif isinstance(part, ast.AugAssign):           # of an array: in place
            found.add(root(part.target))
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call) or nowhere(part):
            found |= arguments(part.value)
    return found - {None}


def nowhere(node: ast.AST) -> bool:
    """Whether a call's result goes nowhere: ``_ = np.copyto(table, 0)``."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and all(
        isinstance(one, ast.Name) and one.id == "_" for one in node.targets)


def arguments(call: ast.Call) -> set[str]:
    """The names among a call's arguments; none where it is a built-in function's."""
    if isinstance(call.func, ast.Name) and call.func.id in HARMLESS:
        return set()
    return {one.id for one in call.args if isinstance(one, ast.Name)}


def root(node: ast.expr) -> str | None:
    """``a`` of ``a.b[0].c``; None where there is no such name."""
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
