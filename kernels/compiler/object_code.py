"""Entry kernels as object code, loaded without numba.

Importing numba and its first call cost more than most runs, importing llvmlite more than loading what is known of an
object file (`elf`). An entry is a call of native code with its arguments laid out as numba passes them (`arguments`);
its module's object code is had when it is first called (`obtaining`).
"""

import ctypes
import functools
import os
import pathlib
import threading

from . import object_file
from .arguments import Kinds
from .fingerprint import owner_of
from .modes import KernelError
from .native_call import native_call, pack, passes_blocks
from .object_file import ModuleCode
from .obtaining import code_of, obtain

_addresses: dict[str, dict[str, int]] = {}  # by key: address by name of the entry
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


def load(module: ModuleCode) -> dict[str, int]:
    """Load the object code of a module; addresses of its entries by name. One thread at a time may do so.

    What only paths that never run would call is defined as the end of the process.
    """
    from . import elf

    names = frozenset(module.stand_ins)
    try:
        return {name: elf.load(entry.code, entry.symbol, names) for name, entry in module.entries.items()}
    except elf.Unknown:
        return _load_by_llvm(module)


def _load_by_llvm(module):
    llvm, engine = _engine()
    abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for name in module.stand_ins:
        if llvm.address_of_symbol(name) is None:
            llvm.add_symbol(name, abort)
    for entry in module.entries.values():
        engine.add_object_file(llvm.ObjectFileRef.from_data(entry.code))
    engine.finalize_object()
    return {name: engine.get_function_address(entry.symbol) for name, entry in module.entries.items()}


class NativeEntry:
    """An entry kernel as native code, had at its first call; any number of threads may call it."""

    def __init__(self, function, key: str):
        functools.update_wrapper(self, function)
        self._key = key
        self._bound = None  # (native call, kinds of its arguments)

    def _bind(self):
        obtain((self._key,))
        with _loading:
            if self._key not in _addresses:
                _addresses[self._key] = load(code_of(self._key))
        kinds = Kinds(code_of(self._key).entries[self.__name__].kinds)
        self._bound = native_call(_addresses[self._key][self.__name__], kinds.words, passes_blocks()), kinds
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
    addresses = load(object_file.decode(owner_of(key), pathlib.Path(path).read_bytes()))
    if not all(addresses.values()):
        raise KernelError("the symbol of an entry is missing")
