"""Compiling the entry kernels of one module, in a process that does nothing else (see `obtaining`)."""

import gc
import os

from . import object_file, sealed
from .compile_lock import CompileLock
from .fingerprint import cache_path, cache_root, owner_of
from .modes import LINKED, KernelError, choose
from .object_file import ModuleCode
from .obtaining import READY, look

TRIAL = f"{__package__}.object_code:try_load"


def compile_here(key: str, call) -> None:
    """Compile the entry kernels of one module in this process, by the calls that `call()` makes, and keep them.

    Nothing is done where another process does, or did, the same.

    Raises
    ------
    KernelError
        They cannot be compiled, or their object code cannot be loaded.
    """
    directory = cache_path(key)
    directory.mkdir(parents=True, exist_ok=True)
    with CompileLock(directory):
        if look(key) == READY:
            return
        if not choose(LINKED, key):
            raise KernelError("kernels were imported before they could be compiled")
        gc.disable()  # numba makes many objects that live as long as this process: looking for others costs a tenth
        call()
        _keep(key, directory)


def _keep(key, directory):
    from .children import problem_of, start
    from .jit import ENTRIES
    from .numba_internals import object_code, stand_ins
    from .object_code import laid_out

    if not ENTRIES:
        raise KernelError(f"{key}: found no entry kernel")
    names = stand_ins()
    entries = {entry.py_func.__name__: laid_out(*object_code(entry), names) for entry in ENTRIES}
    data = object_file.encode(owner_of(key), ModuleCode(entries, names))
    for left in directory.glob("*.tmp"):  # by a process that was ended
        left.unlink(missing_ok=True)
    temporary = directory / f"{os.getpid()}.tmp"
    sealed.write(temporary, data)
    # An object with a symbol that nothing defines ends the process that loads it: another process tries first.
    problem = problem_of(start(TRIAL, [key, str(temporary)], cache_root()))
    if problem is not None:
        temporary.unlink()
        raise KernelError(f"object code of {key} cannot be loaded: {problem}")
    object_file.publish(temporary, directory / object_file.NAME)
