"""Are kernels the same as object code, by numba alone and in plain Python, and who decides which?"""

import re
import shutil
import subprocess
import sys

import pytest
from tiny_package import CALL, COMMAND, ROOT, call, change

from plena_emu.kernels.compiler import object_file

EXAMPLE = ROOT / "examples" / "linear" / "build"
ALONE = r"plena-emu: numba alone compiles the kernels \(a few minutes\); the result is kept in \S+\n"
PLAIN = {"PLENA_PLAIN_NUMBA": "1"}


@pytest.mark.parametrize("code", [CALL, COMMAND], ids=["when first called", "before"])
def test_numba_alone_compiles_once_with_one_line(package, cache, notes, code):
    out, err = call(package, code, **PLAIN)
    assert out == ["42", "True"] and re.fullmatch(ALONE, err)
    assert call(package, code, **PLAIN) == (["42", "True"], "")
    assert notes.read_text() == "" and not list(cache.glob("*/objects"))


def test_numba_alone_compiles_a_changed_helper_anew(package):
    call(package, **PLAIN)
    change(package / "tiny_helper.py", "x + 1", "x + 2")
    out, err = call(package, **PLAIN)
    assert out == ["43", "True"] and re.fullmatch(ALONE, err)


def damages(path):
    data = path.read_bytes()
    yield b""
    yield data[: len(data) // 2]
    yield bytes(byte ^ 0x55 for byte in data)
    yield None


def test_files_of_numba_that_are_not_what_was_written_are_compiled_again(package, cache):
    call(package, **PLAIN)
    (place,) = cache.glob("tiny-*/numba")
    files = sorted(path.relative_to(place) for path in place.rglob("*") if path.is_file())
    assert len(files) == 3  # index, code, list
    shutil.copytree(place, cache / "good")
    for file in files:
        for data in damages(cache / "good" / file):
            shutil.copytree(cache / "good", place, dirs_exist_ok=True)
            (place / file).unlink() if data is None else (place / file).write_bytes(data)
            out, err = call(package, **PLAIN)
            assert out == ["42", "True"] and len(err.splitlines()) in (1, 2), (file, err)
    assert call(package, **PLAIN) == (["42", "True"], "")


def test_a_list_of_files_that_is_noise_is_one_of_those(package, cache):
    call(package, **PLAIN)
    (listed,) = cache.glob("tiny-*/numba/files.json")
    listed.write_text("[]")
    out, err = call(package, **PLAIN)
    assert out == ["42", "True"] and "kept kernels of tiny are not what was written: compiling them again" in err


def test_where_numba_lacks_an_internal_it_compiles_alone(package):
    change(package / "compiler" / "numba_internals.py", "import JITCodeLibrary,", "import JitCodeLibrary,")
    for _ in range(2):
        out, err = call(package, COMMAND)
        assert out == ["42", "True"]
        assert len(err.splitlines()) == 2
        assert re.search(r"\nplena-emu: the kernels cannot be had as object code \(tiny: this version of numba lacks"
                         r" what object code is made with: cannot import name 'JitCodeLibrary'.*\): numba compi", err)


@pytest.mark.parametrize("args", ["1.5", "np.array([41]), 1.5", "np.array([41.0])"])
@pytest.mark.parametrize("environ", [{}, PLAIN])
def test_no_mode_takes_another_argument_than_it_was_compiled_for(package, args, environ):
    code = CALL + f"\ntry:\n    print(tiny.run({args}))\nexcept TypeError:\n    print('refused')"
    assert call(package, code, **environ)[0][-1] == "refused"


@pytest.mark.parametrize("name", ["NUMBA_DISABLE_JIT", "PLENA_PLAIN_NUMBA"])
@pytest.mark.parametrize("value", ["false", "2", "abc", "1 1"])
def test_nonsense_in_the_environment_is_one_line(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    build = str(EXAMPLE)
    for command in (["run", build, "--no-dumps"], ["profile", build], ["doctor"], ["plan", build, "--board", "v80"],
                    ["sweep", build, "--memory-model", "hbm"]):
        run = subprocess.run([sys.executable, "-m", "plena_emu.cli.main", *command], capture_output=True, text=True,
                             timeout=60)
        assert run.returncode == 101
        assert run.stderr == (f"plena-emu {command[0]}: error: environment variable {name}: found {value!r},"
                              " expected 0 or 1\n")


@pytest.mark.parametrize(("value", "imported"), [("", "False"), (" 0", "False"), ("0", "False")])
def test_empty_is_not_set(package, value, imported):
    assert call(package, COMMAND, NUMBA_DISABLE_JIT=value, PLENA_PLAIN_NUMBA=value)[0] == ["42", imported]


# --- every internal of numba that is used, on three functions --------------------------------------------------------


def test_what_is_used_of_numba_works():
    """A linked kernel in a linked kernel in an entry: compiled, taken out, loaded without numba, called."""
    code = """
import sys
import numpy as np
from plena_emu.kernels.compiler import object_file
from plena_emu.kernels.compiler.linked import Part, whole
from plena_emu.kernels.compiler.numba_internals import NO_REFERENCE_COUNTS, object_code, stand_ins
options = {"nogil": True, "error_model": "numpy", "forceinline": False} | NO_REFERENCE_COUNTS

def square(x):
    return x * x

def sum_of_squares(values):
    total = 0
    for i in range(len(values)):
        total += square(values[i])
    return total

def both(values, more):
    values[0] = sum_of_squares(values)
    return values[0] + more

square = Part(square, **options | {"forceinline": True})
sum_of_squares = Part(sum_of_squares, **options)
assert square(5) == 25 and sum_of_squares(np.array([1, 2, 3])) == 14  # on their own, from Python
both = whole(both, **options)
values = np.array([3, 4])
assert both(values, 1) == 26 and values.tolist() == [25, 4]
module = object_file.ModuleCode({"both": object_file.ObjectCode(*object_code(both))}, stand_ins())
sys.stdout.buffer.write(object_file.encode("test", module))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr
    module = object_file.decode("test", run.stdout)
    (entry,) = module.entries.values()
    assert entry.kinds == "(<i8/1,int)"
    call_in_fresh_process = f"""
import ctypes, sys
import numpy as np
from plena_emu.kernels.compiler.arguments import Kinds
from plena_emu.kernels.compiler.object_code import load
from plena_emu.kernels.compiler.object_file import decode
module = decode("test", {run.stdout!r})
kinds = Kinds(module.entries["both"].kinds)
result, error = ctypes.c_int64(0), ctypes.c_void_p(0)
call = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 2, *[ctypes.c_int64] * kinds.words)(load(module, "both"))
values = np.array([3, 4])
assert call(ctypes.addressof(result), ctypes.addressof(error), *kinds.words_of((values, -1))) == 0
print(result.value, *values, "numba" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", call_in_fresh_process], capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["24", "25", "4", "False"], run.stderr


INLINED = """
import numpy as np
from plena_emu.kernels.compiler import modes
assert modes.choose(modes.LINKED)
from plena_emu.kernels.compiler.jit import OPTIONS, kernel, small
from plena_emu.kernels.compiler.linked import whole

@kernel
def power(values, exponent):
    product = 1
    for _ in range(exponent):
        product *= values[0]
    return product

@small
def powers(values):
    return power(values, 2) + power(values, 3) + power(values, values[0])

def total(values):
    return powers(values)

total = whole(total, **OPTIONS)
assert total(np.array([3])) == 9 + 27 + 27
(part,) = power.overloads.values()
(around,) = powers.overloads.values()
for code in (part, around):
    print("alwaysinline" in code.library.get_llvm_str())
"""


def test_what_a_kernel_says_holds_for_itself_alone():
    """A kernel that a small one calls is not inlined by force, as numba would have it; one version serves constants."""
    run = subprocess.run([sys.executable, "-c", INLINED], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["False", "True"]


def test_internals_of_numba_stand_in_one_module():
    """The rest of the package imports from numba what its documentation names."""
    documented = {"numba": {"njit", "types", "config", "typeof"}, "numba.extending": {"intrinsic"},
                  "numba.core": {"cgutils"}}
    found = re.compile(r"^ *(?:from (numba[\w.]*) import (.+)|import numba.*)$", re.MULTILINE)
    seen = 0
    for folder in ("emu", "kernels", "boards", "manifests"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "numba_internals.py":
                continue
            for module, names in found.findall(path.read_text()):
                seen += 1
                assert set(names.split(", ")) <= documented.get(module, set()), f"{path}: {module} {names}"
    assert seen > 10
