"""Does every file, test and module that a page or a docstring names exist?"""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = ("emu", "kernels", "boards", "manifests", "models", "tests", "bench", "docs", "tools", "examples")
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
SOURCES = [path for folder in TOP[:5] for path in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [page for top in ("", *(f"{folder}/**/" for folder in TOP)) for page in sorted(ROOT.glob(f"{top}*.md"))]

PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(TOP)})/[\w*](?:[\w./*-]*[\w*])?")
TEST = re.compile(r"(?<![\w/])test_\w+\.py")
LINK = re.compile(r"\]\((?!\w+:)([^)#]+)[^)]*\)")
DOTTED = re.compile(r"(?<![\w./:-])plena_emu(?:\.[A-Za-z_]\w*)+")


def name_of(path):
    return str(path.relative_to(ROOT))


def missing_paths(text):
    """Paths from the root of the checkout that lead nowhere; `*` stands for any name."""
    return [path for path in PATH.findall(text) if not next(ROOT.glob(path), None)]


def missing_tests(text):
    """Names of test modules that no folder of tests or benchmarks holds."""
    folders = (ROOT / "tests", ROOT / "bench")
    return [name for name in TEST.findall(text) if not any(next(top.rglob(name), None) for top in folders)]


def missing_links(page, text):
    """Relative links of a page that lead nowhere."""
    return [link for link in LINK.findall(text) if not (page.parent / link).exists()]


def names_in(source):
    """Names a module has: what it defines, imports or assigns, and those it offers as strings."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def is_there(dotted):
    """Whether a dotted name is a module of the package, or a name in one; attributes of that are not looked at."""
    parts = dotted.split(".")
    package = next(".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in PACKAGES)
    place, rest = ROOT / PACKAGES[package], parts[package.count(".") + 1 :]
    while rest and (place / rest[0]).is_dir():
        place, rest = place / rest[0], rest[1:]
    if not rest:
        return True
    if (place / f"{rest[0]}.py").is_file():
        place, rest = place / f"{rest[0]}.py", rest[1:]
        return not rest or rest[0] in names_in(place.read_text())
    return rest[0] in names_in((place / "__init__.py").read_text())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_names_exists(page):
    text = page.read_text()
    assert missing_paths(text) == [] and missing_tests(text) == [] and missing_links(page, text) == []
    assert [name for name in DOTTED.findall(text) if not is_there(name)] == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_modules_that_a_source_names_exist(path):
    """In docstrings and comments as well as in imports."""
    assert [name for name in DOTTED.findall(path.read_text()) if not is_there(name)] == []


def test_there_is_something_to_look_at():
    pages = "".join(page.read_text() for page in PAGES)
    assert len(PATH.findall(pages)) > 100 and len(LINK.findall(pages)) > 20 and len(DOTTED.findall(pages)) > 10
    assert sum(len(DOTTED.findall(path.read_text())) for path in SOURCES) > 15


def test_what_is_not_there_is_seen():
    assert missing_paths("`emu/isa.py`, docs/spec/*.md and (../tests/none.py)") == []
    assert missing_paths("see emu/none.py and kernels/*/none*.") == ["emu/none.py", "kernels/*/none*"]
    assert missing_tests("`test_goldens.py`, `test_none.py`") == ["test_none.py"]
    assert missing_links(ROOT / "docs" / "api.md", "[a](boards.md) [b](none.md#x) [c](https://none)") == ["none.md"]
    names = ("plena_emu.run", "plena_emu.isa", "plena_emu.kernels.layout.OP_ID", "plena_emu.none", "plena_emu.isa.none")
    assert [name for name in names if not is_there(name)] == ["plena_emu.none", "plena_emu.isa.none"]
