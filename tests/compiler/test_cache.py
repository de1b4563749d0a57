"""Does the compile cache never run stale code, compile once however many start, and work where it cannot be written?

Most tests use a copy of the package with a tiny kernel module of its own, which compiles in a fraction of a second.
"""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from plena_emu.kernels.compiler import imports
from plena_emu.kernels.compiler.fingerprint import module_key, sources
from plena_emu.kernels.compiler.imports import imported_names

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"": "emu", "kernels": "kernels", "boards": "boards", "manifests": "manifests"}
HELPER = '''"""A helper."""
from .compiler.jit import kernel


@kernel
def add(x):
    """One more."""
    return x + 1
'''
TINY = '''"""A tiny module of entry kernels."""
from .compiler.jit import entry
from .tiny_helper import add


@entry
def run(values):
    """First value and one more."""
    return add(values[0])
'''
# Uses the tiny kernel as a run uses its kernels; prints its result, how often it was compiled and what was imported.
CALL = """
import sys
from plena_emu.kernels.compiler.object_code import choose_prebuilt
prebuilt = choose_prebuilt(("tiny",)) if "prebuilt" in sys.argv else False
import numpy as np
from plena_emu.precompile import compiling
from plena_emu.kernels import tiny
with compiling("tiny"):
    result = tiny.run(np.array([41]))
misses = 0 if prebuilt or not hasattr(tiny.run, "stats") else sum(tiny.run.stats.cache_misses.values())
print(result, misses, "numba" in sys.modules)
"""
COMPILING = r"plena-emu: compiling the kernels for this machine, once \(.*\); the result is kept in \S+/cache\n"


@pytest.fixture
def package(tmp_path):
    return install(tmp_path / "package")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PLENA_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("NUMBA_DISABLE_JIT", "NUMBA_BOUNDSCHECK", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def install(place):
    """A copy of the package below `place`, with the tiny kernel module; returns the folder of its kernels."""
    for name, folder in PACKAGES.items():
        shutil.copytree(ROOT / folder, place / "plena_emu" / name, ignore=shutil.ignore_patterns("__pycache__"),
                        dirs_exist_ok=True)
    kernels = place / "plena_emu" / "kernels"
    (kernels / "tiny.py").write_text(TINY)
    (kernels / "tiny_helper.py").write_text(HELPER)
    return kernels


def start(kernels, code=CALL, *args, **environ):
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], env={**os.environ, "PYTHONPATH": str(kernels.parents[1]), **environ},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def ended(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.split(), err


def call(kernels, *args, **environ):
    return ended(start(kernels, CALL, *args, **environ))


def fingerprint(kernels, module="tiny", **environ):
    code = f"from plena_emu.kernels.compiler.fingerprint import fingerprint; print(fingerprint({module!r}))"
    (text,), _ = ended(start(kernels, code, **environ))
    return text


def test_compiled_once_with_one_line_then_loaded(package):
    out, err = call(package)
    assert out == ["42", "1", "True"] and re.fullmatch(COMPILING, err)
    assert call(package) == (["42", "0", "True"], "")


def test_compiled_code_runs_without_numba(package):
    call(package)
    assert call(package, "prebuilt") == (["42", "0", "False"], "")


def test_a_changed_helper_in_another_file_is_compiled_anew(package):
    assert call(package)[0][0] == "42"
    (package / "tiny_helper.py").write_text(HELPER.replace("x + 1", "x + 2"))
    out, err = call(package, "prebuilt")
    assert out == ["43", "1", "True"] and re.fullmatch(COMPILING, err)
    assert call(package, "prebuilt") == (["43", "0", "False"], "")
    (package / "tiny_helper.py").write_text(HELPER)
    assert call(package, "prebuilt") == (["42", "0", "False"], "")


def test_what_the_fingerprint_depends_on(package):
    before = fingerprint(package)
    assert fingerprint(package, NUMBA_BOUNDSCHECK="1") != before
    assert fingerprint(package, NUMBA_OPT="1") != before
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
    code = f"import sys, plena_emu.kernels.{module}\nprint(*[name for name in sys.modules if 'plena_emu.' in name])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert sorted(run.stdout.split()) == sources(module)


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
    code = CALL.replace('"tiny"', '"deep.tiny"').replace("kernels import tiny", "kernels.deep import tiny")
    assert ended(start(package, code))[0] == ["83", "1", "True"]
    assert ended(start(package, code, "prebuilt")) == (["83", "0", "False"], "")
    assert [path.name.rpartition("-")[0] for path in cache.iterdir()] == ["deep-tiny"]
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
        assert ended(start(package, code, "prebuilt"))[0] == [result, "1", "True"]


def test_an_import_that_leads_nowhere_is_named(package):
    (package / "tiny_helper.py").write_text("from plena_emu.boards.missing import x\n" + HELPER)
    process = start(package, "from plena_emu.kernels.compiler.fingerprint import sources; sources('tiny')")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "imports plena_emu.boards.missing: found no such module" in err


def test_an_entry_outside_the_kernels_has_no_key():
    with pytest.raises(ValueError, match="test_cache.*belongs below plena_emu.kernels"):
        module_key(test_an_entry_outside_the_kernels_has_no_key)


def test_installations_with_the_same_sources_share_the_cache(package, tmp_path):
    call(package)
    other = install(tmp_path / "other")
    assert call(other) == (["42", "0", "True"], "")


def test_simultaneous_cold_starts_compile_once(package):
    running = [start(package) for _ in range(4)]
    results = [ended(process) for process in running]
    assert [out[0] for out, _ in results] == ["42"] * 4
    assert sum(int(out[1]) for out, _ in results) == 1
    assert sum(len(err.splitlines()) for _, err in results) == 1
    assert call(package, "prebuilt") == (["42", "0", "False"], "")


def test_an_interrupted_compilation_is_done_again(package, cache):
    call(package)
    (directory,) = cache.glob("tiny-*")
    for name in ("complete", "objects.json"):
        (directory / name).unlink()
    out, err = call(package)
    assert out == ["42", "1", "True"] and re.fullmatch(COMPILING, err)
    assert call(package, "prebuilt") == (["42", "0", "False"], "")


def test_a_cache_that_cannot_be_written_costs_one_line(package, cache):
    cache.write_text("a file where the directory should be")
    for _ in range(2):
        out, err = call(package, "prebuilt")
        assert out[0] == "42" and out[2] == "True"
        assert re.fullmatch(r"plena-emu: the compile cache \S+ cannot be written: .* \(set PLENA_CACHE_DIR\)\n", err)


def test_a_disk_that_is_full_costs_one_line(package, cache):
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
    for _ in range(2):
        # Python 3.11 itself leaves broken bytecode on a full disk.
        out, err = ended(start(package, full + CALL, PYTHONDONTWRITEBYTECODE="1"))
        assert out == ["42", "1", "True"]
        compiling, cost = err.splitlines(keepends=True)
        assert re.fullmatch(COMPILING, compiling) and "cannot be written: File too large: the next run compiles" in cost
    assert call(package)[0] == ["42", "1", "True"]
    assert call(package, "prebuilt") == (["42", "0", "False"], "")


def test_a_cache_that_is_deleted_meanwhile(package, cache):
    delete = ("import shutil\nfrom plena_emu.kernels.compiler.fingerprint import cache_dir\n"
              "shutil.rmtree(cache_dir('tiny').parent)\n")
    assert ended(start(package, delete + CALL))[0] == ["42", "1", "True"]
    assert call(package, "prebuilt") == (["42", "0", "False"], "")


def test_many_kernels_still_cost_one_line(package, cache):
    code = ("from plena_emu.precompile import compiling\n"
            "for module in ('tiny', 'data.tables', 'control.control'):\n    with compiling(module): pass")
    assert len(ended(start(package, code))[1].splitlines()) == 1
    shutil.rmtree(cache)
    cache.write_text("a file where the directory should be")
    assert len(ended(start(package, code))[1].splitlines()) == 1


def test_a_cache_that_is_complete_need_not_be_writable(package, cache, monkeypatch):
    """As on a machine whose cache an administrator has warmed; permissions do not stop root, so the check is told."""
    call(package)
    code = ("from plena_emu.kernels.compiler import fingerprint\nfingerprint._writable = lambda directory: False\n"
            + CALL)
    assert ended(start(package, code, "prebuilt")) == (["42", "0", "False"], "")


# Has the small module every machine needs compiled as a command does before it imports anything heavy.
MAKE_READY = """
import sys
from plena_emu.kernels.compiler.object_code import choose_prebuilt
from plena_emu.precompile import make_ready
make_ready(("data.tables",))
heavy = [name for name in ("numba", "numpy", "llvmlite") if name in sys.modules]
print(choose_prebuilt(("data.tables",)), heavy)
"""


def test_child_processes_compile_what_a_command_lacks(package):
    running = [start(package, MAKE_READY) for _ in range(2)]
    for process in running:
        out, err = ended(process)
        assert out == ["True", "[]"] and re.fullmatch(COMPILING, err)
    assert ended(start(package, MAKE_READY)) == (["True", "[]"], "")


def test_nothing_is_compiled_without_the_compiler(package, cache):
    out, err = ended(start(package, CALL.replace("misses = 0 if", "misses = 0 if True or"), NUMBA_DISABLE_JIT="1"))
    assert out[:2] == ["42", "0"] and err == ""
    assert not list(cache.glob("*/complete"))


def test_doctor_shows_versions_and_the_cache(cache):
    run = subprocess.run([sys.executable, "-m", "plena_emu.cli.main", "doctor", "--no-warm"], capture_output=True,
                         text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    for words in ("plena-emu ", "python ", "numba ", "llvmlite ", "numpy ", str(cache), "control.control", "data.data",
                  "data.tables", "not compiled"):
        assert words in run.stdout
    assert not list(cache.glob("*"))
