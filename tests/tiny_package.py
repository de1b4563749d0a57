"""A copy of the package with a tiny module of entry kernels, which compiles in a fraction of a second."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"": "emu", "kernels": "kernels", "boards": "boards", "manifests": "manifests", "models": "models"}
HELPER = '''"""A helper."""
from .compiler.jit import kernel


@kernel
def add(x):
    """One more."""
    return x + 1
'''
TINY = '''"""A tiny module of entry kernels."""
from .compiler.jit import entry
from .tiny_helper import add


@entry
def run(values):
    """First value and one more."""
    return add(values[0])
'''
# How a child process calls it; the environment can ask for a note of every compilation, and for one that takes long.
FIRST_CALL = '''
    if module == "tiny":
        import os, time

        import numpy as np

        from .kernels import tiny

        if "TINY_NOTES" in os.environ:
            with open(os.environ["TINY_NOTES"], "a") as notes:
                notes.write(f"{os.getpid()}\\n")
        time.sleep(float(os.environ.get("TINY_SECONDS", 0)))
        tiny.run(np.array([41]))
        return
'''
# Uses the tiny kernel; prints its result, and whether numba was imported.
CALL = """
import sys
import numpy as np
from plena_emu.kernels import tiny
print(tiny.run(np.array([41])), "numba" in sys.modules)
"""
# The same as a command does it: what is needed is made ready before any kernel module is imported.
COMMAND = "from plena_emu.precompile import make_ready\nmake_ready(('tiny',))\n" + CALL
COMPILING = r"plena-emu: compiling the kernels for this machine, once \(.*\); the result is kept in \S+/cache\n"


def install(place):
    """Copy the package below `place`, with the tiny kernel module; returns the folder of its kernels."""
    for name, folder in FOLDERS.items():
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, place / "plena_emu" / name, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("__pycache__"))
    kernels = place / "plena_emu" / "kernels"
    (kernels / "tiny.py").write_text(TINY)
    (kernels / "tiny_helper.py").write_text(HELPER)
    change(kernels.parent / "precompile.py", "def _first_call(module):\n", "def _first_call(module):\n" + FIRST_CALL)
    return kernels


def change(path, old, new):
    """Replace text of a file, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def start(kernels, code=CALL, *args, **environ):
    """Start a process on a copy of the package; a keyword is a variable of its environment."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], env={**os.environ, "PYTHONPATH": str(kernels.parents[1]), **environ},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )


def ended(process):
    """Wait for a process that succeeds: (words of its standard output, its standard error)."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.split(), err


def call(kernels, code=CALL, **environ):
    """Start a process and wait for it."""
    return ended(start(kernels, code, **environ))
