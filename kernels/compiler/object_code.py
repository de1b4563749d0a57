"""Entry kernels as object code, loaded without numba.

Importing numba and its first call cost more than most runs, importing llvmlite more than loading what was laid out
when it was compiled (`placed_code`). An entry is a call of native code with its arguments laid out as numba passes them
(`arguments`); its module's object code is had when it is first called (`obtaining`), and its own part alone is loaded.
"""

import ctypes
import functools
import os
import threading

from . import object_file
from .arguments import Kinds
from .fingerprint import owner_of
from .modes import KernelError
from .native_call import native_call, pack, passes_blocks
from .object_file import ModuleCode, ObjectCode
from .obtaining import code_of, obtain

_addresses: dict[tuple[str, str], int] = {}  # by key of the module and name of the entry
_loading = threading.Lock()
# A process that is forked while another thread loads would get half an engine.
os.register_at_fork(before=_loading.acquire, after_in_parent=_loading.release, after_in_child=_loading.release)


@functools.cache
def _engine():
    """The one execution engine of this process."""
    import llvmlite.binding as llvm

    if hasattr(llvm, "initialize_native_target"):
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(codemodel="jitdefault", jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    return llvm, engine


def load(module: ModuleCode, name: str) -> int:
    """Load the object code of one entry of a module; its address. One thread at a time may do so.

    What only paths that never run would call is defined as the end of the process.

    Raises
    ------
    KernelError
        It cannot be loaded into this process.
    """
    code = module.entries[name].code
    if isinstance(code, bytes):
        return _load_by_llvm(module, name)
    from .placed_code import PlacedCode
    from .placed_code import load as load_placed

    return load_placed(PlacedCode(*code), frozenset(module.stand_ins))


def _load_by_llvm(module, name):
    llvm, engine = _engine()
    abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for other in module.stand_ins:
        if llvm.address_of_symbol(other) is None:
            llvm.add_symbol(other, abort)
    engine.add_object_file(llvm.ObjectFileRef.from_data(module.entries[name].code))
    engine.finalize_object()
    return engine.get_function_address(module.entries[name].symbol)


def laid_out(symbol: str, kinds: str, code: bytes, stand_ins: list[str]) -> ObjectCode:
    """Lay out the object file of an entry once and for all, where that is known how: else LLVM loads it each time.

    Returns
    -------
    ObjectCode
    """
    from . import elf

    try:
        return ObjectCode(symbol, kinds, tuple(elf.place(code, symbol, frozenset(stand_ins))))
    except elf.Unknown:
        return ObjectCode(symbol, kinds, code)


class NativeEntry:
    """An entry kernel as native code, had at its first call; any number of threads may call it."""

    def __init__(self, key: str, name: str):
        self.__name__ = name
        self._key = key
        self._bound = None  # (native call, kinds of its arguments)

    def _bind(self):
        obtain((self._key,))
        with _loading:
            if (self._key, self.__name__) not in _addresses:
                _addresses[self._key, self.__name__] = load(code_of(self._key), self.__name__)
        kinds = Kinds(code_of(self._key).entries[self.__name__].kinds)
        self._bound = native_call(_addresses[self._key, self.__name__], kinds.words, passes_blocks()), kinds
        return self._bound

    def __call__(self, *args):
        native, kinds = self._bound or self._bind()
        return self._call(native, lambda args: pack(kinds.words_of(args)), args)

    def bind(self, first: tuple, last: tuple):
        """Make a function of the arguments between `first` and `last`, which are laid out once and kept.

        Laying out the arrays of a large tuple takes longer than a short call of the kernel.
        """
        native, kinds = self._bound or self._bind()
        packed_between = kinds.bind(first, last)

        def call(*args):
            return self._call(native, packed_between, args)

        return call

    def _call(self, native, packed_of, args):
        try:
            packed = packed_of(args)
        except TypeError as refused:
            raise TypeError(f"{self.__name__}: {refused}") from None
        result = ctypes.c_int64(0)
        raised = ctypes.c_void_p(0)
        status = native(ctypes.addressof(result), ctypes.addressof(raised), packed)
        if status != 0:
            raise RuntimeError(f"{self.__name__}: native code returned {status}")
        return result.value


def try_load(key: str, path: str) -> None:
    """Load a module's object code from a file.

    Raises
    ------
    KernelError
        The symbol of an entry is not in it.
    """
    with open(path, "rb") as file:
        module = object_file.decode(owner_of(key), file.read())
    if not all(load(module, name) for name in module.entries):
        raise KernelError("the symbol of an entry is missing")
