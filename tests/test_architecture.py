"""The arrows between modules point one way, and the house rules that a machine can see."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vary_proxy"
MODULES = sorted(PACKAGE.rglob("*.py"))
CORE = [path for path in MODULES if PACKAGE / "core" in path.parents]

# What each layer must know nothing of; a name stands for the module and all below it.
EDGES = (
    *("server", "fastlane", "admin", "cli", "app", "demo"),
    *("clients", "observation", "purges", "workers", "reloading"),
)
STEPS = ("exchange", "replying", "hot")
FETCHES = ("flights", "fetches")
CONFIGURATION = ("config", "configuration", "rules")
FORBIDDEN = {
    "exchange": EDGES,
    "hot": EDGES,
    "replying": (*EDGES, "exchange", "hot"),
    "flights": (*EDGES, *STEPS),
    "fetches": (*EDGES, *STEPS),
    "origin": (*EDGES, *STEPS, *FETCHES, "store", *CONFIGURATION),
    "origins.httpclient": (*EDGES, *STEPS, *FETCHES, "store", *CONFIGURATION),
    "store": (*EDGES, *STEPS, *FETCHES, "origin", "origins", *CONFIGURATION),
    "rules": (*EDGES, *STEPS, *FETCHES, "origin", "origins", "store"),
    "configuration": (*EDGES, *STEPS, *FETCHES, "origin", "origins", "store"),
    "clients": ("exchange", "hot", *FETCHES, "origin", "origins", "store", "app", "cli", "admin"),
    "tasks": (*EDGES, *STEPS, *FETCHES, "origin", "origins", "store", *CONFIGURATION, "core"),
}
# What draws or parses for the terminal has no place where requests are answered.
ONLY_IN_CLI = frozenset(("click", "rich"))
BY_HAND = frozenset(("create_task", "ensure_future"))


def name_of(path: Path) -> str:
    """The dotted name of a module of ours."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a module."""
    return tuple(ast.walk(tree_of(path)))


def imports(path: Path, *, typing: bool = True) -> Iterator[tuple[str, int]]:
    """Every module that *path* imports, anywhere in it, and the line.

    Without *typing*, those that only a type checker sees are left out.
    """
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    tree = tree_of(path)
    unseen = set() if typing else _only_for_types(tree)
    for node in nodes(path):
        if node in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join((*above, *([base] if base else [])))
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def _only_for_types(tree: ast.Module) -> set[ast.AST]:
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def test_there_is_something_to_look_at():
    assert len(MODULES) > 30
    assert len(CORE) > 15


def test_core_imports_only_itself_and_the_standard_library():
    found = [
        f"{name_of(path)}:{line} imports {module}"
        for path in CORE
        for module, line in imports(path)
        if not within(module, "vary_proxy.core")
        and (module.partition(".")[0] not in sys.stdlib_module_names)
    ]
    assert found == []


PURE = frozenset(("asyncio", "socket", "ssl", "threading", "subprocess", "random", "secrets", "os"))
CLOCKS = frozenset(("time.time", "time.monotonic", "time.perf_counter", "datetime.now"))


def test_core_does_no_io_and_has_no_clock():
    found = [
        f"{name_of(path)}:{line} imports {module}"
        for path in CORE
        for module, line in imports(path)
        if module.partition(".")[0] in PURE
    ]
    for path in CORE:
        for node in nodes(path):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in CLOCKS or called in ("open", "print", "input"):
                found.append(f"{name_of(path)}:{node.lineno} calls {called}")  # type: ignore[attr-defined]  # a Call
            if isinstance(node, ast.AsyncFunctionDef | ast.Await):
                found.append(f"{name_of(path)}:{node.lineno} is asynchronous")
    assert found == []


@pytest.mark.parametrize("layer", sorted(FORBIDDEN))
def test_arrows_point_one_way(layer):
    inside = f"vary_proxy.{layer}"
    found = [
        f"{name_of(path)}:{line} imports {module}"
        for path in MODULES
        if within(name_of(path), inside)
        for module, line in imports(path)
        if any(within(module, f"vary_proxy.{other}") for other in FORBIDDEN[layer])
    ]
    assert found == []


def test_no_module_imports_itself_in_a_circle():
    known = {name_of(path) for path in MODULES}
    arrows = {
        name_of(path): {
            target
            for module, _ in imports(path, typing=False)
            for target in (module, module.rpartition(".")[0])
            if target in known and target != name_of(path)
        }
        for path in MODULES
        if path.name != "__init__.py"
    }
    assert _circle(arrows) == []


def _circle(arrows: dict[str, set[str]]) -> list[str]:
    """The modules of one circle; empty when there is none."""
    done: set[str] = set()
    trail: list[str] = []

    def visit(name: str) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        trail.append(name)
        for target in sorted(arrows.get(name, ())):
            if found := visit(target):
                return found
        trail.pop()
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := visit(name))), [])


def test_only_tasks_starts_tasks():
    found = [
        f"{name_of(path)}:{node.lineno} {node.attr if isinstance(node, ast.Attribute) else node.id}"
        for path in MODULES
        if path != PACKAGE / "tasks.py"
        for node in nodes(path)
        if (isinstance(node, ast.Attribute) and node.attr in BY_HAND)
        or (isinstance(node, ast.Name) and node.id in BY_HAND)
    ]
    assert found == []


@pytest.mark.parametrize("module", ["pickle", "marshal", "shelve", "dill", "cloudpickle"])
def test_nothing_is_unpickled(module):
    found = [
        f"{name_of(path)}:{line}"
        for path in MODULES
        for name, line in imports(path)
        if within(name, module)
    ]
    found += [
        f"{name_of(path)}:{node.lineno}"
        for path in MODULES
        for node in nodes(path)
        if isinstance(node, ast.Name | ast.Attribute)
        and "pickle" in (node.id if isinstance(node, ast.Name) else node.attr).lower()
    ]
    assert found == []


def test_no_evaluation_of_text():
    found = [
        f"{name_of(path)}:{node.lineno} {node.func.id}"
        for path in MODULES
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("eval", "exec", "compile", "__import__")
    ]
    assert found == []


def test_what_draws_on_terminals_stays_in_the_commands():
    found = [
        f"{name_of(path)}:{line} imports {module}"
        for path in MODULES
        if not within(name_of(path), "vary_proxy.cli")
        for module, line in imports(path)
        if module.partition(".")[0] in ONLY_IN_CLI
    ]
    assert found == []


def test_modules_have_at_most_300_lines():
    found = [
        f"{name_of(path)} has {count} lines"
        for path in MODULES
        if (count := len(path.read_text().splitlines())) > 300
    ]
    assert found == []


# One straight line each, with many arguments or cases; cutting them would hide the order.
LONGER = frozenset(("compile_policy", "_cached", "change", "open_store"))


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, the docstring not counted."""
    said = node.body[0] if ast.get_docstring(node) is not None else None
    text = 0 if said is None else (said.end_lineno or 0) - said.lineno + 1
    return (node.end_lineno or 0) - node.lineno + 1 - text


def test_functions_have_at_most_40_lines():
    found = [
        f"{name_of(path)}:{node.lineno} {node.name} has {count} lines"
        for path in MODULES
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (count := _code_lines(node)) > (50 if node.name in LONGER else 40)
    ]
    assert found == []


def test_modules_open_with_how_they_work():
    without = [name_of(path) for path in MODULES if not ast.get_docstring(tree_of(path))]
    assert without == []


@pytest.mark.parametrize("name", ["utils", "util", "helpers", "common", "misc"])
def test_no_module_for_whatever_is_left(name):
    assert [name_of(path) for path in MODULES if name in path.with_suffix("").parts] == []
