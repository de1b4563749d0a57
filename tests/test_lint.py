"""Do the sources keep the rules of the house: layers, decorators, docstrings, sizes?"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("emu", "kernels", "boards", "manifests", "models")
SOURCES = [path for folder in (*PACKAGES, "tests", "bench", "examples", "tools")
           for path in sorted((ROOT / folder).rglob("*.py"))]
# `kernels/compiler` is host-side: it finds, keeps and loads machine code.
KERNELS = [path for path in SOURCES if path.is_relative_to(ROOT / "kernels") and path.name != "__init__.py"
           and path.parent.name != "compiler"]
JITTED = {"kernel", "small", "entry"}


def name_of(path):
    return str(path.relative_to(ROOT))


def per_file(paths):
    return pytest.mark.parametrize("path", paths, ids=name_of)


def decorators(function):
    return {ast.unparse(decorator).partition("(")[0] for decorator in function.decorator_list}


def functions(path):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def imported(path):
    """(level, dotted name) of every import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, f"{node.module or ''}.{alias.name}".strip(".")) for alias in node.names)


def test_there_is_something_to_look_at():
    assert len(KERNELS) > 20 and len(SOURCES) > 100


@per_file(SOURCES)
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 600


@per_file(SOURCES)
def test_lines_are_short(path):
    assert [number for number, line in enumerate(path.read_text().splitlines(), 1) if len(line) > 120] == []


@per_file(KERNELS)
def test_kernels_use_the_decorators_of_the_project(path):
    """Options of the compiler stand in one place, `kernels.compiler.jit`."""
    allowed = JITTED | {"intrinsic", "property", "functools.cache"}
    assert {name for function in functions(path) for name in decorators(function)} <= allowed
    assert not re.search(r"\b(njit|fastmath|parallel|prange|inline)\s*[=(]", path.read_text())


@per_file(KERNELS)
def test_kernels_say_what_they_do(path):
    silent = [f.name for f in functions(path) if decorators(f) & JITTED and not ast.get_docstring(f)]
    assert silent == [] and ast.get_docstring(ast.parse(path.read_text()))


def test_the_instruction_table_imports_nothing():
    assert list(imported(ROOT / "emu" / "isa.py")) == []


@per_file([path for path in SOURCES if path.parts[len(ROOT.parts)] in PACKAGES])
def test_public_functions_have_docstrings(path):
    tree = ast.parse(path.read_text())
    public = [
        node for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    silent = [node.name for node in public if not ast.get_docstring(node)]
    commands = {"configure", "run"} if path.parent.name == "cli" else set()
    assert set(silent) <= commands and ast.get_docstring(tree)


def test_the_line_of_each_command_names_a_module():
    from plena_emu.cli.main import COMMANDS

    assert {path.stem for path in (ROOT / "emu" / "cli").glob("*.py")} >= {name.replace("-", "_") for name in COMMANDS}
