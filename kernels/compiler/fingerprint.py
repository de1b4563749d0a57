"""Where compiled kernels live and what names that place (no numba here: it is imported later).

Every module with entry kernels has a directory of its own. Its name is a hash of the module's
source and of every kernel source it imports, the instruction table, the versions of Python, numba
and llvmlite, the CPU and every `NUMBA_*` variable that changes code. A changed kernel therefore
never finds stale code (numba itself does not notice a changed helper in another file), and a
change in one pass does not recompile the others.
"""

import functools
import hashlib
import os
import pathlib
import platform
import re
import sys
import tempfile

from plena_emu import isa

MARKER = "complete"  # in the directory of a module whose entry kernels are all compiled
HERE = pathlib.Path(__file__).resolve().parent

# Variables that name places or threads, not code.
_NEUTRAL = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_DISABLE_JIT"}
_IMPORT = re.compile(r"^ *from (?:\.|plena_emu\.kernels\.)(\w+) import", re.MULTILINE)


def _cpu():
    """Text that differs between CPUs for which numba would generate different code."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
            lines = info.read().split("\n\n", 1)[0].splitlines()
        keep = ("model name", "cpu family", "model\t", "flags", "Features", "CPU part")
        return "\n".join(line for line in lines if line.startswith(keep))
    except OSError:
        return platform.processor() + platform.machine()


@functools.cache
def package_version(name: str) -> str:
    """Version of an installed package by the name of its metadata directory: `importlib.metadata` takes longer
    to import than all else that is needed to start a run."""
    prefix = f"{name}-"
    for place in sys.path:
        try:
            found = [entry for entry in os.listdir(place or ".") if entry.startswith(prefix)]
        except OSError:
            continue
        for entry in found:
            if entry.endswith(".dist-info"):
                return entry[len(prefix) : -len(".dist-info")]
    from importlib.metadata import version

    return version(name)


@functools.cache
def _environment():
    """Hash of everything but the sources that decides about machine code."""
    digest = hashlib.sha256()
    for package in ("numba", "llvmlite", "numpy"):
        digest.update(package_version(package).encode())
    digest.update(sys.version.encode())
    digest.update(_cpu().encode())
    for name in sorted(os.environ):
        if name.startswith("NUMBA_") and name not in _NEUTRAL:
            digest.update(f"{name}={os.environ[name]}".encode())
    return digest


@functools.cache
def _source(module):
    return (HERE / f"{module}.py").read_bytes()


def sources(module: str) -> list[str]:
    """Names of the kernel modules `module` is made of: itself and all it imports, sorted."""
    found = {module}
    todo = [module]
    while todo:
        for name in _IMPORT.findall(_source(todo.pop()).decode()):
            if name not in found:
                found.add(name)
                todo.append(name)
    return sorted(found)


@functools.cache
def fingerprint(module: str) -> str:
    """Hex digest of everything that decides about the machine code of a module's entry kernels."""
    digest = _environment().copy()
    digest.update(pathlib.Path(isa.__file__).read_bytes())
    for name in sources(module):
        digest.update(name.encode())
        digest.update(_source(name))
    return digest.hexdigest()[:20]


def jit_disabled() -> bool:
    """Whether NUMBA_DISABLE_JIT asks for kernels in plain Python."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def cache_root() -> pathlib.Path:
    """Directory above all others: `$PLENA_CACHE_DIR`, else the user's cache directory."""
    chosen = os.environ.get("PLENA_CACHE_DIR")
    if chosen:
        return pathlib.Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base) / "plena-emu"


def _writable(directory):
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def cache_path(module: str) -> pathlib.Path:
    """Where a module's entry kernels are kept, be it there or not."""
    return cache_root() / f"{module}-{fingerprint(module)}"


@functools.cache
def cache_dir(module: str) -> pathlib.Path | None:
    """Directory of a module's entry kernels, created; None when nothing is in it and it cannot be written."""
    directory = cache_path(module)
    return directory if (directory / MARKER).exists() or _writable(directory) else None
