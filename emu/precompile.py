"""Making the entry kernels ready: compiled once a machine, however many processes start at once.

A kernel module's cache directory holds a marker once its kernels are in it. Whoever finds no marker
takes the directory's lock, looks again, and compiles; the others wait and then load what it wrote.
A command has what it lacks compiled by child processes, one a module, so that a cold start uses every
CPU and the command itself need not import numba. Nothing heavy is imported here.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time

from .kernels.compiler.fingerprint import MARKER, cache_dir, cache_root, jit_disabled

# Every module with entry kernels that are kept, those that take longest to compile first.
MODULES = (
    "data.data", "dram.replay", "dram.timing", "simple.timing", "control.control", "simple.batch", "data.tables",
)
LOCK = "lock"
_said = threading.Event()
_held = set()  # modules whose lock this process holds


def say_once(text: str) -> None:
    """One line on standard error about compiling, however many kernels need it."""
    if not _said.is_set():
        _said.set()
        print(f"plena-emu: {text}", file=sys.stderr, flush=True)


def is_ready(module: str) -> bool:
    """Whether a module's kernels need no compiling."""
    directory = cache_dir(module)
    return jit_disabled() or (directory is not None and (directory / MARKER).exists())


@contextlib.contextmanager
def compiling(module: str):
    """Context of the first call of a module's entry kernels in this process.

    Serialises compilation between processes and says in one line that it takes a while.
    """
    if module in _held or is_ready(module):
        yield
    elif cache_dir(module) is None:
        say_once(f"the compile cache {cache_root()} cannot be written: every run compiles its kernels anew,"
                 " for about a minute (set PLENA_CACHE_DIR)")
        yield
    else:
        cache_dir(module).mkdir(parents=True, exist_ok=True)  # it may be deleted at any time
        with open(cache_dir(module) / LOCK, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if is_ready(module):
                yield
                return
            _held.add(module)
            try:
                _say_compiling()
                _clear(cache_dir(module))
                yield
                _complete(module)
            finally:
                _held.remove(module)


def _say_compiling():
    say_once(f"compiling the kernels for this machine, once (about a minute); the result is kept in {cache_root()}")


def _clear(directory):
    """Remove what a compilation that was interrupted left: machine code without its object file."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _complete(module):
    """Keep what was compiled; a disk that is full by now costs this run nothing but a line."""
    from .kernels.compiler.jit import ENTRIES
    from .kernels.compiler.object_code import save

    entries = ENTRIES.get(module, ())
    try:
        for entry in entries:
            entry._cache.check()
        save(module, entries)
        (cache_dir(module) / MARKER).touch()
    except OSError as error:
        print(f"plena-emu: the compile cache {cache_root()} cannot be written: {error.strerror}: the next run"
              " compiles its kernels anew", file=sys.stderr, flush=True)


def make_ready(modules) -> None:
    """Have the kernels of `modules` compiled by child processes, as many at a time as there are CPUs.

    Does nothing where the cache cannot be written: this process then compiles for itself, as it does with
    what a child could not compile.
    """
    waiting = [module for module in modules if not is_ready(module)]
    if not waiting or not sys.executable or any(cache_dir(module) is None for module in waiting):
        return
    _say_compiling()
    running = []
    try:
        while waiting or running:
            while waiting and len(running) < len(os.sched_getaffinity(0)):
                running.append(_child(waiting.pop(0)))
            time.sleep(0.02)
            running = [child for child in running if child.poll() is None]
    finally:
        for child in running:
            child.terminate()


def choose_kernels(request) -> None:
    """Have the kernels of a run compiled, and take them as object code, without numba, where that can serve.

    The latter only where no kernel module is imported yet. `request` is a `RunRequest`.
    """
    from .kernels.compiler.object_code import choose_prebuilt

    timing = "simple.timing" if request.memory_model != "hbm" and request.dram is None else "dram.timing"
    modules = ("data.data", timing, "control.control", "data.tables")
    make_ready(modules)
    choose_prebuilt(modules)


def _child(module):
    script = f"from plena_emu.precompile import compile_module; compile_module({module!r})"
    quiet = subprocess.DEVNULL
    return subprocess.Popen([sys.executable, "-c", script], stdin=quiet, stdout=quiet, stderr=quiet)


def compile_module(module: str) -> None:
    """Compile the entry kernels of one module of `MODULES`, unless another process does it first."""
    with compiling(module):
        if not is_ready(module):
            _first_call(module)


def _first_call(module):
    if module == "dram.replay":
        from .memory.dram_replay import replay

        replay("hbm2", time_ps=[0], is_write=[0], address=[0])
    elif module == "simple.batch":
        from .memory.simple import DdrTiming

        memory = DdrTiming()
        memory.read([0])
        memory.store([0])
    else:
        _first_call_of_a_run(module)


def _first_call_of_a_run(module):
    import numpy as np

    from .config.settings import default_settings, with_hbm_size
    from .machine.core import Machine
    from .manifests.schema import Manifest
    from .memory.models import RegimeModel
    from .program.decode import decode
    from .running.simulation import Simulation

    settings = with_hbm_size(default_settings(), 1 << 16)
    machine = Machine(settings, "base")  # uses `tables`
    if module == "data.tables":
        return
    program = decode(np.zeros(0, dtype=np.uint32), "base", settings)
    model = "hbm" if module == "dram.timing" else "resident"
    memory = RegimeModel(model, Manifest(activation_ceiling=0), machine.descriptors, 0, 1)
    simulation = Simulation(program, machine, memory)
    if module == "control.control":
        simulation.prepare_control()
    elif module == "data.data":
        simulation.prepare_data()
    else:
        memory.warm()


def warm() -> None:
    """Compile every entry kernel that the cache lacks."""
    make_ready(MODULES)
