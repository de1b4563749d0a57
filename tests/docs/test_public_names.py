"""Is what docs/api.md calls public what the modules offer, and does no page for users lead to anything else?"""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "emu": "plena_emu", "boards": "plena_emu.boards", "manifests": "plena_emu.manifests", "models": "plena_emu.models",
}
USER_PAGES = ("README.md", "docs/api.md", "docs/boards.md", "docs/dram.md", "docs/bench.md")
ROW = re.compile(r"^\| `(plena_emu[\w.]*)` \| (`[^|]*`) \|", re.MULTILINE)
PUBLIC = {
    module: re.findall(r"`(\w+)`", names)
    for module, names in ROW.findall((ROOT / "docs" / "api.md").read_text().partition("## What is public")[2])
}


def offers(source):
    """Whether a module's text sets `__all__`."""
    targets = (target for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets)
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def module_of(path):
    """Dotted name of a source file of the package."""
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[folder], *(part for part in rest if part != "__init__")])


def test_the_table_is_read():
    assert "run" in PUBLIC["plena_emu"] and len(PUBLIC) > 5


@pytest.mark.parametrize("module", PUBLIC)
def test_the_table_says_what_a_module_offers(module):
    loaded = importlib.import_module(module)
    assert sorted(getattr(loaded, "__all__", ())) == sorted(PUBLIC[module])
    assert [name for name in PUBLIC[module] if not hasattr(loaded, name)] == []


def test_no_other_module_offers_names():
    sources = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(sources) > 50
    assert {module_of(path) for path in sources if offers(path.read_text())} == set(PUBLIC)


@pytest.mark.parametrize("page", USER_PAGES)
def test_pages_for_users_name_public_things_only(page):
    """Every dotted name of the package, and every import from it."""
    text = (ROOT / page).read_text()
    names = re.findall(r"\bplena_emu(?:\.\w+)+", text)
    names += [f"{module}.{name}" for module, listed in re.findall(r"from (plena_emu[\w.]*) import ([\w, ]+)", text)
              for name in listed.split(", ")]
    known = set(PUBLIC) | {f"{module}.{name}" for module, listed in PUBLIC.items() for name in listed}
    assert [name for name in names if name not in known] == []
