"""Does the compile cache never run stale code, compile once however many start, and work where it cannot be written?

Most tests use a copy of the package with a tiny kernel module of its own, which compiles in a fraction of a second.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"": "emu", "kernels": "kernels", "boards": "boards", "manifests": "manifests"}
HELPER = '''"""A helper."""
from .jit import kernel


@kernel
def add(x):
    """One more."""
    return x + 1
'''
TINY = '''"""A tiny module of entry kernels."""
from .jit import entry
from .tiny_helper import add


@entry
def run(values):
    """First value and one more."""
    return add(values[0])
'''
# Uses the tiny kernel as a run uses its kernels; prints its result, how often it was compiled and what was imported.
CALL = """
import sys
from plena_emu.kernels.native import choose_prebuilt
prebuilt = choose_prebuilt(("tiny",)) if "prebuilt" in sys.argv else False
import numpy as np
from plena_emu.warm import compiling
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
    code = f"from plena_emu.kernels.cache import fingerprint; print(fingerprint({module!r}))"
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
    (package / "scalar.py").write_text((package / "scalar.py").read_text() + "\n")
    assert fingerprint(package) == before
    for source in (package / "jit.py", package.parent / "isa.py"):
        text = source.read_text()
        source.write_text(text + "\n")
        assert fingerprint(package) != before
        source.write_text(text)
    assert fingerprint(package) == before


def test_every_kernel_module_counts_the_sources_it_uses():
    from plena_emu.kernels.compiler.fingerprint import sources

    assert {"control", "resolve_matrix", "jit", "parts", "layout", "status"} <= set(sources("control"))
    assert {"data", "matrix", "vector", "numerics", "products"} <= set(sources("data"))
    assert "data" not in sources("control")


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
    delete = "import shutil\nfrom plena_emu.kernels.cache import cache_dir\nshutil.rmtree(cache_dir('tiny').parent)\n"
    assert ended(start(package, delete + CALL))[0] == ["42", "1", "True"]
    assert call(package, "prebuilt") == (["42", "0", "False"], "")


def test_many_kernels_still_cost_one_line(package, cache):
    code = ("from plena_emu.warm import compiling\n"
            "for module in ('tiny', 'tables', 'control'):\n    with compiling(module): pass")
    assert len(ended(start(package, code))[1].splitlines()) == 1
    shutil.rmtree(cache)
    cache.write_text("a file where the directory should be")
    assert len(ended(start(package, code))[1].splitlines()) == 1


def test_a_cache_that_is_complete_need_not_be_writable(package, cache, monkeypatch):
    """As on a machine whose cache an administrator has warmed; permissions do not stop root, so the check is told."""
    call(package)
    code = "from plena_emu.kernels import cache; cache._writable = lambda directory: False\n" + CALL
    assert ended(start(package, code, "prebuilt")) == (["42", "0", "False"], "")


# Has the small module every machine needs compiled as a command does before it imports anything heavy.
MAKE_READY = """
import sys
from plena_emu.kernels.native import choose_prebuilt
from plena_emu.warm import make_ready
make_ready(("tables",))
heavy = [name for name in ("numba", "numpy", "llvmlite") if name in sys.modules]
print(choose_prebuilt(("tables",)), heavy)
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
    for words in ("plena-emu ", "python ", "numba ", "llvmlite ", "numpy ", str(cache), "control", "data", "tables",
                  "not compiled"):
        assert words in run.stdout
    assert not list(cache.glob("*"))
