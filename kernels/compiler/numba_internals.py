"""Every part of numba that is used here and that its documentation does not promise, in one place.

Where one is missing (another version of numba), importing this module raises `KernelError`, and kernels run by what
numba documents alone: mode `PLAIN`.

- `JITCodeLibrary`, `Compiler`, `CPUDispatcher`: a kernel is compiled as a part of its callers (`linked`);
- `CompileResult.library`, `.fndesc`, `.signature`: object code, symbol and types of a compiled function;
- `c_helpers`: symbols that compiled code may name in paths that never run;
- the option `_nrt`: no calls that count references to arrays;
- `config.CPU_FEATURES`, `get_host_cpu_features`: what the CPU can for which numba compiles;
- `types.Array.layout`, `.mutable`: what compiled code takes for granted about an array.
"""

from .modes import KernelError

try:
    from numba import _helperlib, types
    from numba.core import config
    from numba.core.codegen import JITCodeLibrary, get_host_cpu_features
    from numba.core.compiler import Compiler
    from numba.core.registry import CPUDispatcher as CPUDispatcher
    from numba.core.runtime import _nrt_python  # type: ignore[attr-defined]
    from numba.np.numpy_support import as_dtype

    _helpers = list(_helperlib.c_helpers)  # type: ignore[attr-defined]
    _reference_counting = list(_nrt_python.c_helpers)
    for _owner, _name in (
        (JITCodeLibrary, "_optimize_final_module"), (JITCodeLibrary, "_finalize_final_module"),
        (JITCodeLibrary, "_finalize_dynamic_globals"), (JITCodeLibrary, "_ensure_finalized"),
        (JITCodeLibrary, "get_pointer_to_function"), (JITCodeLibrary, "serialize_using_object_code"),
        (Compiler, "define_pipelines"),
    ):  # fmt: skip
        getattr(_owner, _name)
except (ImportError, AttributeError) as error:
    raise KernelError(f"this version of numba lacks what object code is made with: {error}") from None

NO_REFERENCE_COUNTS = {"_nrt": False}


def target_features() -> str:
    """Tell the features of the CPU that numba compiles for, as LLVM writes them: "+avx2,-avx512f".

    Returns
    -------
    str
    """
    chosen = getattr(config, "CPU_FEATURES", None)
    return get_host_cpu_features() if chosen is None else chosen


def stand_ins() -> list[str]:
    """List the symbols that numba's own process defines and that object code may name without ever using them."""
    names = [f"numba_{name}" for name in _helpers] + [f"NRT_{name}" for name in _reference_counting]
    return names + _reference_counting


def object_code(dispatcher) -> tuple[str, str, bytes]:
    """Take the object code of a function that was compiled once, in this process.

    Returns
    -------
    (str, str, bytes)
        Its symbol, the kinds of its arguments as `arguments.kinds_of` tells them, and its object file.

    Raises
    ------
    KernelError
        It was compiled for several kinds of arguments or none, or returns what is no integer.
    """
    name = dispatcher.py_func.__name__
    if len(dispatcher.overloads) != 1:
        raise KernelError(f"{name}: found {len(dispatcher.overloads)} compiled versions, expected 1")
    (result,) = dispatcher.overloads.values()
    returned = result.signature.return_type
    if not isinstance(returned, types.Integer | types.NoneType):
        raise KernelError(f"{name}: found {returned} as the type of its result, expected an integer or None")
    kinds = f"({','.join(_kind(part, name) for part in result.signature.args)})"
    return result.fndesc.llvm_func_name, kinds, result.library.serialize_using_object_code()[2][0]


def _kind(kind, name):
    """`arguments.kinds_of` for a numba type."""
    if isinstance(kind, types.BaseTuple):
        return f"({','.join(_kind(part, name) for part in kind.types)})"
    if isinstance(kind, types.Array) and kind.layout == "C":
        return f"{as_dtype(kind.dtype).str}/{kind.ndim}{'' if kind.mutable else 'r'}"
    if isinstance(kind, types.Integer) and kind.bitwidth == 64:
        return "int"
    raise KernelError(f"{name}: found an argument of type {kind}, expected arrays in C order and 64-bit integers")
