"""Does the fingerprint of compiled code cover what the code is made of, wherever a source lies?"""

import ast
import importlib.util
import re
import subprocess
import sys

import pytest
from tiny_package import CALL, COMPILING, HELPER, ROOT, call, change, start

from plena_emu.kernels.compiler import imports
from plena_emu.kernels.compiler.fingerprint import module_key, sources
from plena_emu.kernels.compiler.imports import imported_names


def fingerprint(kernels, module="tiny", **environ):
    code = f"from plena_emu.kernels.compiler.fingerprint import fingerprint; print(fingerprint({module!r}))"
    (text,), _ = call(kernels, code, **environ)
    return text


def test_what_the_fingerprint_depends_on(package):
    before = fingerprint(package)
    assert fingerprint(package, NUMBA_BOUNDSCHECK="1") != before
    assert fingerprint(package, NUMBA_OPT="1") != before
    assert fingerprint(package, PLENA_SIMD_LANES="4") != before
    assert fingerprint(package, NUMBA_CACHE_DIR="elsewhere", NUMBA_NUM_THREADS="1") == before
    (package / "data" / "scalar.py").write_text((package / "data" / "scalar.py").read_text() + "\n")
    assert fingerprint(package) == before
    for module, source in (("tiny", package / "compiler" / "jit.py"), ("control.control", package.parent / "isa.py")):
        before, text = fingerprint(package, module), source.read_text()
        source.write_text(text + "\n")
        assert fingerprint(package, module) != before
        source.write_text(text)
        assert fingerprint(package, module) == before


ENTRY_MODULES = sorted({
    ".".join(path.relative_to(ROOT / "kernels").with_suffix("").parts)
    for path in (ROOT / "kernels").rglob("*.py")
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef) and any(ast.unparse(each) == "entry" for each in node.decorator_list)
})  # fmt: skip


def test_every_module_with_an_entry_is_managed():
    from plena_emu.precompile import MODULES

    assert len(ENTRY_MODULES) > 6 and sorted(MODULES) == ENTRY_MODULES


@pytest.mark.parametrize("module", ENTRY_MODULES)
def test_the_fingerprint_covers_exactly_what_an_entry_module_loads(module):
    """Neither less, which would run stale machine code, nor more, which would compile for nothing."""
    code = (f"import sys\nfrom plena_emu.kernels.compiler import modes\nmodes.choose(modes.LINKED, {module!r})\n"
            f"import plena_emu.kernels.{module}\nprint(*[name for name in sys.modules if 'plena_emu.' in name])")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    # Loaded only to start a process, where numba alone compiles, where a fingerprint is computed, and where object
    # code is laid out and loaded.
    elsewhere = {f"plena_emu.kernels.compiler.{name}"
                 for name in ("children", "compile_lock", "elf", "imports", "placed_code", "plain")}
    assert sorted({*run.stdout.split(), *elsewhere}) == sources(module)


def test_every_kernel_source_is_read_by_its_pattern_as_by_its_syntax_tree():
    paths = sorted((ROOT / "kernels").rglob("*.py"))
    assert len(paths) > 40
    for path in paths:
        source = path.read_text()
        assert imported_names(source, "a.b") == imported_names(source, "a.b", exact=True)
        assert imports._by_pattern(source) is not None, f"{path} would be parsed at every start"


@pytest.mark.parametrize("source", [
    "import a.b.c as d, e", "from . import a", "from .. import a as b, c", "from ...a.b import c", "import a\\\n, b",
    "from .a import (  # why\n    b,  # of )\n    c as d,\n)", "from .a \\\n    import b", "x = 1; import a; import b",
    "def f():\n\tfrom a import b", "from .a import(b)", "from . a import b", "from.a import b", "from .a import *",
    "try:\n    import a\nexcept ImportError: import b", "from .a import b\r\nimport c\r\n", "from .a import (b,\n\n c)",
    "'''\nan import x is what this does\n'''\nimport a", "important = 1\nimport a.important", "import a  # import b",
    "\x0cimport a", "import é.a, _b", "from .a import b as c, d as e  # f", "if 1: from .a import b", "import\ta",
    "from ..... import a", "from .a import ( b , )", "if 1:import a", "class A: import a", "import a ; b",
    "from . import (a\n)", "from .import a", "from ... a import b", "from .a \\\r\n    import b",
    "import a.imports", "from a import b\\\n as c",
])  # fmt: skip
@pytest.mark.parametrize("is_package", [False, True])
def test_odd_forms_of_imports_are_read_exactly(source, is_package):
    exact = imported_names(source, "p.q.r.s.t.u", is_package, exact=True)
    assert exact and imported_names(source, "p.q.r.s.t.u", is_package) == exact


@pytest.mark.parametrize("level", [1, 2, 3])
def test_relative_imports_lead_where_python_goes(level):
    for is_package in (False, True):
        ((base, names),) = imported_names(f"from {'.' * level}x import y", "p.q.r.s", is_package)
        assert base == importlib.util.resolve_name("." * level + "x", "p.q.r.s" if is_package else "p.q.r")
        assert names == {"y"}


NESTED = {
    "deep/__init__.py": "from .base import ONE\n",
    "deep/base.py": "ONE = 1\n",
    "deep/er/__init__.py": "",
    "deep/er/add.py": "from .. import base\nfrom ...compiler.jit import kernel\nfrom . import twice\n\n\n"
                      "@kernel\ndef add(x):\n    return twice.twice(x) + base.ONE\n",
    "deep/er/twice.py": "from ...compiler.jit import kernel\n\n\n@kernel\ndef twice(x):\n    return 2 * x\n",
    "deep/er/unused.py": "",
    "deep/tiny.py": "import plena_emu.kernels.deep.er.add as adding\nfrom ..compiler.jit import entry\n\n\n"
                    "@entry\ndef run(values):\n    return adding.add(values[0])\n",
}  # fmt: skip


def test_a_change_in_any_folder_is_compiled_anew(package, cache):
    """Helpers in folders, reached by every way to them."""
    for name, text in NESTED.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    change(package.parent / "precompile.py", 'module == "tiny"', 'module == "deep.tiny"')
    change(package.parent / "precompile.py", "from .kernels import tiny", "from .kernels.deep import tiny")
    code = CALL.replace("kernels import tiny", "kernels.deep import tiny")
    out, err = call(package, code)
    assert out == ["83", "False"] and re.fullmatch(COMPILING, err)
    assert call(package, code) == (["83", "False"], "")
    assert [path.name.rpartition("-")[0] for path in cache.glob("*-*")] == ["deep-tiny"]
    before = fingerprint(package, "deep.tiny")
    (package / "deep/er/unused.py").write_text("TWO = 2\n")
    assert fingerprint(package, "deep.tiny") == before
    for name in ("deep/__init__.py", "deep/er/__init__.py", "__init__.py"):
        old = (package / name).read_text()
        (package / name).write_text(old + "# changed\n")
        assert fingerprint(package, "deep.tiny") != before
        (package / name).write_text(old)
    for name, old, new, result in (("deep/er/twice.py", "2 *", "3 *", "124"), ("deep/base.py", "1", "5", "128")):
        (package / name).write_text(NESTED[name].replace(old, new))
        out, err = call(package, code)
        assert out == [result, "False"] and re.fullmatch(COMPILING, err)


def test_an_import_that_leads_nowhere_is_named(package):
    (package / "tiny_helper.py").write_text("from plena_emu.boards.missing import x\n" + HELPER)
    process = start(package, "from plena_emu.kernels.compiler.fingerprint import sources; sources('tiny')")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "imports plena_emu.boards.missing: found no such module" in err


def test_an_entry_outside_the_kernels_has_no_key():
    with pytest.raises(ValueError, match="test_fingerprint.*belongs below plena_emu.kernels"):
        module_key(test_an_entry_outside_the_kernels_has_no_key)
