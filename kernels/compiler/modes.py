"""How the kernels run in this process: as kept object code, linked by numba, by numba alone, or in plain Python.

The choice is made before any kernel module is imported: the decorators of `jit` act on it.
"""

import os
import sys

OBJECTS = "objects"  # entries are object code, compiled by a child process where it lacks; numba is not imported
LINKED = "linked"  # as OBJECTS, and numba compiles the other kernels too where Python calls them (tests, compiling)
PLAIN = "plain"  # numba compiles in this process, by its documented interface only: slower to start, never else
PYTHON = "python"  # no compiler

_JIT_MODULE = f"{__package__}.jit"
_chosen: dict = {"mode": OBJECTS, "compiled": None}


class KernelError(Exception):
    """Kernels cannot be had as they were asked for; one line."""


def _flag(name):
    """Value of an environment variable that is 0 or 1; unset and empty are 0."""
    text = os.environ.get(name, "").strip()
    if text not in ("", "0", "1"):
        raise KernelError(f"environment variable {name}: found {text[:40]!r}, expected 0 or 1")
    return text == "1"


def mode() -> str:
    """Tell how kernels run in this process.

    Returns
    -------
    str
        `PYTHON` with NUMBA_DISABLE_JIT=1, `PLAIN` with PLENA_PLAIN_NUMBA=1, else what `choose` was told: `OBJECTS`
        if it never was.

    Raises
    ------
    KernelError
        One of the two variables is neither 0 nor 1.
    """
    if _flag("NUMBA_DISABLE_JIT"):
        return PYTHON
    return PLAIN if _flag("PLENA_PLAIN_NUMBA") else _chosen["mode"]


def choose(how: str, compiled: str | None = None) -> bool:
    """Choose how kernels run where the environment does not say; `compiled` is the key of the module to compile here.

    Returns
    -------
    bool
        Whether the choice came in time: no kernel module is imported yet.
    """
    if _JIT_MODULE in sys.modules:
        return False
    _chosen.update(mode=how, compiled=compiled)
    return True


def compiled_here() -> str | None:
    """Key of the module whose entry kernels numba compiles in this process; None but in a compiling child."""
    return _chosen["compiled"]
