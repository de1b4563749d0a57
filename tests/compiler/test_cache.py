"""Does the compile cache never run stale code, compile once however many start, and work where it cannot be written?"""

import re
import shutil
import time

import pytest
from tiny_package import CALL, COMMAND, COMPILING, HELPER, call, ended, install, start

LOADED = (["42", "False"], "")  # without a word, and without numba
UNWRITABLE = r"plena-emu: the compile cache \S+ cannot be written \(.*\): every run .* \(set PLENA_CACHE_DIR\)\n"


@pytest.mark.parametrize("code", [CALL, COMMAND], ids=["when first called", "before"])
def test_compiled_once_with_one_line_then_loaded(package, code):
    out, err = call(package, code)
    assert out == ["42", "False"] and re.fullmatch(COMPILING, err)
    assert call(package, code) == LOADED


def test_a_changed_helper_in_another_file_is_compiled_anew(package, notes):
    assert call(package)[0] == ["42", "False"]
    (package / "tiny_helper.py").write_text(HELPER.replace("x + 1", "x + 2"))
    out, err = call(package)
    assert out == ["43", "False"] and re.fullmatch(COMPILING, err)
    assert call(package) == (["43", "False"], "")
    (package / "tiny_helper.py").write_text(HELPER)
    assert call(package) == LOADED
    assert len(notes.read_text().split()) == 2


def test_installations_with_the_same_sources_share_the_cache(package, tmp_path):
    call(package)
    assert call(install(tmp_path / "other")) == LOADED


def test_simultaneous_cold_starts_compile_once(package, notes):
    running = [start(package) for _ in range(4)]
    for process in running:
        out, err = ended(process)
        assert out == ["42", "False"] and (err == "" or re.fullmatch(COMPILING, err))
    assert len(notes.read_text().split()) == 1
    assert call(package) == LOADED


def test_a_compilation_that_was_interrupted_is_done_again(package, cache, notes):
    process = start(package, TINY_SECONDS="60")
    while not notes.read_text():  # until its child is at it
        time.sleep(0.02)
    process.kill()
    process.communicate()
    (directory,) = cache.glob("tiny-*")
    (directory / "1.tmp").write_text("half of an obj")
    out, err = call(package)
    assert out == ["42", "False"] and re.fullmatch(COMPILING, err)
    assert call(package) == LOADED
    assert sorted(path.name for path in directory.iterdir()) == ["lock", "objects"]


@pytest.mark.parametrize("code", [CALL, COMMAND], ids=["when first called", "before"])
def test_a_cache_that_cannot_be_written_costs_one_line(package, cache, notes, tmp_path, code):
    """Another directory serves for the one process, and is removed."""
    cache.write_text("a file where the directory should be")
    (tmp_path / "temporary").mkdir()
    for _ in range(2):
        out, err = call(package, code, TMPDIR=str(tmp_path / "temporary"))
        assert out == ["42", "False"] and re.fullmatch(UNWRITABLE, err)
        assert not list((tmp_path / "temporary").iterdir())
    assert len(notes.read_text().split()) == 2


FULL = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"


def test_where_no_disk_has_room_numba_compiles_in_the_process(package, notes):
    # Python 3.11 itself leaves broken bytecode on a full disk.
    out, err = call(package, FULL + COMMAND, PYTHONDONTWRITEBYTECODE="1")
    assert out == ["42", "True"] and notes.read_text() == ""
    assert re.fullmatch(r"plena-emu: the kernels cannot be had as object code \(neither .* \(File too large\) nor .*"
                        r" \(File too large\) can be written\): numba compiles them in this process, .*\n", err)
    assert call(package)[0] == ["42", "False"]
    assert call(package) == LOADED


def test_where_no_disk_has_room_later_says_so_in_one_line(package):
    process = start(package, FULL + CALL, PYTHONDONTWRITEBYTECODE="1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"KernelError: neither the compile cache \S+ \(File too large\) nor \S+ \(File", err)


def test_a_cache_that_is_deleted_meanwhile(package):
    delete = ("from plena_emu.kernels.compiler.fingerprint import cache_root\nimport shutil\n"
              "from plena_emu.precompile import make_ready\nmake_ready(('tiny',))\nshutil.rmtree(cache_root())\n")
    assert call(package, delete + CALL)[0] == ["42", "False"]
    assert re.fullmatch(COMPILING, call(package)[1])


def test_many_kernels_still_cost_one_line(package, cache):
    code = "from plena_emu.precompile import make_ready\nfor name in ('tiny', 'data.tables'): make_ready((name,))"
    assert re.fullmatch(COMPILING, call(package, code)[1])
    shutil.rmtree(cache)
    cache.write_text("a file where the directory should be")
    assert re.fullmatch(UNWRITABLE, call(package, code)[1])


def test_a_cache_that_is_complete_need_not_be_writable(package):
    """As on a machine whose cache an administrator has warmed; permissions do not stop root, so the check is told."""
    call(package)
    code = ("from plena_emu.kernels.compiler import obtaining\n"
            "obtaining.problem_of_room = lambda keys, root: 1 / 0\n")
    assert call(package, code + COMMAND) == LOADED


def test_a_relative_cache_is_one_of_this_process(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call(package, PLENA_CACHE_DIR="near/by")
    assert list((tmp_path / "near" / "by").glob("tiny-*/objects"))
    assert call(package, PLENA_CACHE_DIR="near/by") == LOADED


# Has the small module every machine needs compiled as a command does before it imports anything heavy.
MAKE_READY = """
import sys
from plena_emu.precompile import make_ready
make_ready(("data.tables",))
print([name for name in ("numba", "numpy", "llvmlite") if name in sys.modules])
"""


def test_child_processes_compile_what_a_command_lacks(package):
    assert re.fullmatch(COMPILING, call(package, MAKE_READY)[1])
    assert call(package, MAKE_READY) == (["[]"], "")


def test_nothing_is_compiled_without_the_compiler(package, cache):
    assert call(package, COMMAND, NUMBA_DISABLE_JIT="1") == LOADED
    assert not cache.exists()


def test_a_module_without_a_first_call_is_no_empty_record(package, cache):
    """What its child finds to compile is nothing: that is an error, and nothing is kept."""
    (package / "tinier.py").write_text("from .compiler.jit import entry\n\n\n@entry\ndef run(values):\n    return 1\n")
    code = CALL.replace("import tiny", "import tinier as tiny")
    process = start(package, code)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and "KernelError: tinier: tinier: found no entry kernel" in err
    assert not list(cache.glob("tinier-*/objects"))
