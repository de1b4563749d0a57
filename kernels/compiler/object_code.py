"""Compiled entry kernels without numba: object code loaded by llvmlite alone.

Importing numba and its first call cost more than most runs. After an entry kernel is compiled, its
object code is kept beside numba's own cache files, in the directory that is named by everything that
decides about the code (see `cache`). A command line may then ask for `prebuilt` kernels before it
imports any: the modules define no jitted functions then, and an entry is a call of native code with its
arrays taken apart the way numba passes them (owner, parent, items, item size, data, shape, strides).
"""

import ctypes
import functools
import json
import os
import pathlib
import subprocess
import sys

from .fingerprint import cache_dir, jit_disabled

_state = {"prebuilt": False}


def choose_prebuilt(modules) -> bool:
    """Use object code for the entry kernels of this process if all of `modules` have it.

    To be called before any kernel module is imported; without effect afterwards, and with NUMBA_DISABLE_JIT.
    """
    loaded = "plena_emu.kernels.compiler.jit" in sys.modules
    if not loaded and not jit_disabled():
        _state["prebuilt"] = all(_is_complete(module) for module in modules)
    return _state["prebuilt"]


def is_prebuilt() -> bool:
    """Whether this process uses object code."""
    return _state["prebuilt"]


def _is_complete(module):
    directory = cache_dir(module)
    return directory is not None and (directory / "objects.json").exists()


def kind_of(value) -> str:
    """Type of an argument as text: arrays by element and dimensions, tuples by their parts, else an integer."""
    if isinstance(value, tuple):
        return f"({','.join(kind_of(part) for part in value)})"
    if hasattr(value, "ctypes"):
        return f"{value.dtype.str}/{value.ndim}"
    return "int"


def flatten(value, out) -> None:
    """Append an argument to `out` as the words numba passes it in."""
    if isinstance(value, tuple):
        for part in value:
            flatten(part, out)
    elif hasattr(value, "ctypes"):
        out += (0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides)
    else:
        out.append(int(value))


@functools.cache
def _engine():
    """The one execution engine of this process, with stand-ins for what only error paths of numba call."""
    import llvmlite.binding as llvm

    if hasattr(llvm, "initialize_native_target"):
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    return llvm, engine


def load(path: pathlib.Path, symbol: str, stand_ins) -> int:
    """Load an object file; the address of its function `symbol`."""
    llvm, engine = _engine()
    abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for name in stand_ins:
        if llvm.address_of_symbol(name) is None:
            llvm.add_symbol(name, abort)
    engine.add_object_file(llvm.ObjectFileRef.from_data(path.read_bytes()))
    engine.finalize_object()
    return engine.get_function_address(symbol)


class NativeEntry:
    """An entry kernel as native code, loaded at its first call."""

    def __init__(self, function, module):
        functools.update_wrapper(self, function)
        self._module = module
        self._call = None

    def _load(self):
        directory = cache_dir(self._module)
        objects = json.loads((directory / "objects.json").read_text())
        record = objects["entries"][self.__name__]
        address = load(directory / record["file"], record["symbol"], objects["stand_ins"])
        words = [ctypes.c_void_p] * 2 + [ctypes.c_int64] * record["words"]
        self._kind = record["kind"]
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, *words)(address)

    def __call__(self, *args):
        if self._call is None:
            self._load()
            if kind_of(args) != self._kind:
                raise TypeError(f"{self.__name__}: arguments {kind_of(args)}, compiled for {self._kind}")
        words = []
        flatten(args, words)
        result = ctypes.c_int64(0)
        error = ctypes.c_void_p(0)
        status = self._call(ctypes.addressof(result), ctypes.addressof(error), *words)
        if status != 0:
            raise RuntimeError(f"{self.__name__}: native code returned {status}")
        return result.value


def _kind_of_type(kind):
    """`kind_of` for a numba type."""
    from numba import types
    from numba.np.numpy_support import as_dtype

    if isinstance(kind, types.BaseTuple):
        return f"({','.join(_kind_of_type(part) for part in kind.types)})"
    if isinstance(kind, types.Array):
        return f"{as_dtype(kind.dtype).str}/{kind.ndim}"
    return "int"


def _words_of(kind):
    """How many words `flatten` makes of a `kind_of` text."""
    parts = [part for part in kind.replace("(", ",").replace(")", ",").split(",") if part]
    return sum(5 + 2 * int(part.rpartition("/")[2]) if "/" in part else 1 for part in parts)


def save(module: str, dispatchers) -> None:
    """Keep the object code of a module's freshly compiled entry kernels, if all of it can be loaded again.

    Nothing is kept for a module with an entry that has no fresh object code (it came from numba's cache).
    """
    from numba import _helperlib
    from numba.core.runtime import _nrt_python

    directory = cache_dir(module)
    entries = {}
    for dispatcher in dispatchers:
        if len(dispatcher.overloads) != 1:
            return
        (result,) = dispatcher.overloads.values()
        try:
            code = result.library.serialize_using_object_code()[2][0]
        except RuntimeError:
            return
        name = dispatcher.py_func.__name__
        kind = f"({','.join(_kind_of_type(part) for part in result.signature.args)})"
        file = f"{name}.o"
        _replace(directory / file, code)
        entries[name] = {
            "file": file, "symbol": result.fndesc.llvm_func_name, "kind": kind, "words": _words_of(kind),
        }
    stand_ins = [f"numba_{name}" for name in _helperlib.c_helpers] + [f"NRT_{name}" for name in _nrt_python.c_helpers]
    record = {"entries": entries, "stand_ins": stand_ins + list(_nrt_python.c_helpers)}
    trial = directory / "objects.trial.json"
    _replace(trial, json.dumps(record).encode())
    # An object with a symbol that nothing defines ends the process that loads it: a child tries first.
    program = [sys.executable, "-m", __name__, str(trial)]
    if subprocess.run(program, capture_output=True).returncode == 0:
        os.replace(trial, directory / "objects.json")


def _replace(path, data):
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def try_load(path: str) -> None:
    """Load every object that a record of `save` names."""
    record = json.loads(pathlib.Path(path).read_text())
    for item in record["entries"].values():
        if not load(pathlib.Path(path).parent / item["file"], item["symbol"], record["stand_ins"]):
            raise SystemExit(1)


if __name__ == "__main__":
    try_load(sys.argv[1])
