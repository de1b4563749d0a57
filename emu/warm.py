"""Making the entry kernels ready: compiled once a machine, however many processes start at once.

A kernel module's cache directory holds a marker once its kernels are in it. Whoever finds no marker
takes the directory's lock, looks again, and compiles; the others wait and then load what it wrote.
"""

import contextlib
import fcntl
import sys
import threading

from .kernels.cache import MARKER, cache_dir, cache_root
from .kernels.jit import ENTRIES, JIT
from .kernels.native import save

LOCK = "lock"
_said = threading.Event()


def say_once(text: str) -> None:
    """One line on standard error about compiling, however many kernels need it."""
    if not _said.is_set():
        _said.set()
        print(f"plena-emu: {text}", file=sys.stderr, flush=True)


def is_ready(module: str) -> bool:
    """Whether a module's kernels need no compiling."""
    directory = cache_dir(module)
    return not JIT or (directory is not None and (directory / MARKER).exists())


@contextlib.contextmanager
def compiling(module: str):
    """Context of the first call of a module's entry kernels in this process.

    Serialises compilation between processes and says in one line that it takes a while.
    """
    directory = cache_dir(module)
    if is_ready(module):
        yield
        return
    if directory is None:
        say_once(f"the compile cache {cache_root()} cannot be written: every run compiles its kernels anew,"
                 " for about a minute (set PLENA_CACHE_DIR)")
        yield
        return
    with open(directory / LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / MARKER).exists():
            say_once(f"compiling the kernels for this machine, once; the result is kept in {cache_root()}")
        yield
        save(module, ENTRIES.get(module, ()))
        (directory / MARKER).touch()


def warm() -> None:
    """Compile every entry kernel that the cache lacks."""
    import numpy as np

    from .machine import Machine
    from .manifests.schema import Manifest
    from .memory import open_memory
    from .program import decode
    from .simulation import Simulation
    from .settings import default_settings, with_hbm_size

    settings = with_hbm_size(default_settings(), 1 << 16)
    machine = Machine(settings, "base")
    program = decode(np.zeros(0, dtype=np.uint32), "base", settings)
    for model in ("resident", "hbm"):
        memory = open_memory(model, Manifest(activation_ceiling=0), machine.shapes, capacity=0, bandwidth=1)
        Simulation(program, machine, memory).prepare()
