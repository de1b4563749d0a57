"""Where compiled kernels live and what names that place (no numba here: it is imported later).

The directory's name is a hash of every kernel source, the instruction table, the versions of
Python, numba and llvmlite, the CPU and every `NUMBA_*` variable that changes code. A changed
kernel therefore never finds stale code.
"""

import functools
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import sys
import tempfile

# Variables that name places or threads, not code.
_NEUTRAL = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_DISABLE_JIT"}


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
def fingerprint():
    """Hex digest of everything that decides about the machine code (20 characters)."""
    digest = hashlib.sha256()
    here = pathlib.Path(__file__).resolve().parent
    import plena_emu.isa

    sources = sorted(here.glob("*.py")) + [pathlib.Path(plena_emu.isa.__file__)]
    for source in sources:
        digest.update(source.name.encode())
        digest.update(source.read_bytes())
    for package in ("numba", "llvmlite", "numpy"):
        digest.update(importlib.metadata.version(package).encode())
    digest.update(sys.version.encode())
    digest.update(_cpu().encode())
    for name in sorted(os.environ):
        if name.startswith("NUMBA_") and name not in _NEUTRAL:
            digest.update(f"{name}={os.environ[name]}".encode())
    return digest.hexdigest()[:20]


def cache_root():
    """Directory above all fingerprints: `$PLENA_CACHE_DIR`, else the user's cache directory."""
    chosen = os.environ.get("PLENA_CACHE_DIR")
    if chosen:
        return pathlib.Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base) / "plena-emu"


@functools.cache
def cache_dir():
    """Directory of this fingerprint, created; None when it cannot be written."""
    directory = cache_root() / fingerprint()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError:
        return None
    return directory
