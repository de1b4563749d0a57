"""Child processes of this package: isolated from the working directory, and none outlives its parent."""

import json
import os
import pathlib
import subprocess
import sys
import time

_LIBRARIES = ("numba", "llvmlite", "numpy", "msgspec", "yaml")
_BESIDE = ("kernels", "boards", "manifests", "models")  # packages that may lie elsewhere than their parent package
_SCRIPT = pathlib.Path(__file__).resolve().with_name("child_main.py")


def start(function: str, arguments: list, root) -> subprocess.Popen:
    """Start a process that calls a function of the package.

    Parameters
    ----------
    function : str
        Module and name, `module:name`.
    arguments : list
        Values that JSON has.
    root : path
        The compile cache of the child.
    """
    task = {
        "function": function,
        "arguments": arguments,
        "libraries": [place for place in sys.path if os.path.isabs(place) and _holds_library(place)],
        "packages": _package_places(),
    }
    options = ["-I", *(["-B"] if sys.dont_write_bytecode else [])]
    if sys.pycache_prefix:
        options += ["-X", f"pycache_prefix={os.path.abspath(sys.pycache_prefix)}"]
    # Not in the working directory either: numba reads settings from a file there.
    return subprocess.Popen(
        [sys.executable, *options, str(_SCRIPT), json.dumps(task)], cwd=os.sep,
        env={**os.environ, "PLENA_CACHE_DIR": os.path.abspath(root), "NUMBA_DISABLE_JIT": "0"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )


def _holds_library(place):
    return any(os.path.isdir(os.path.join(place, name)) for name in _LIBRARIES)


def _package_places():
    """(File, search locations) of the packages by name; their folders need not lie in each other."""
    import importlib.util

    names = ["plena_emu", *(f"plena_emu.{name}" for name in _BESIDE)]
    specs = {name: importlib.util.find_spec(name) for name in names}
    return {name: (os.path.abspath(spec.origin), list(map(os.path.abspath, spec.submodule_search_locations)))
            for name, spec in specs.items() if spec is not None}


def problem_of(child: subprocess.Popen) -> str | None:
    """Wait for a child to end; what went wrong in one line, or None."""
    with child:
        try:
            out = child.stdout.read() if child.stdout else b""
            child.wait()  # with its standard input open until then: it ends with its parent otherwise
        except BaseException:
            child.kill()
            raise
    if child.returncode == 0:
        return None
    text = out.decode(errors="replace").strip()
    return text.splitlines()[-1] if text else f"a child process ended with status {child.returncode}"


def call_in_children(function: str, arguments: list, root) -> dict:
    """Call a function of the package with each of the arguments, in as many processes at a time as there are CPUs.

    Returns
    -------
    dict
        What went wrong, in one line, by argument.
    """
    problems = {}
    waiting = list(arguments)
    running: dict[str, subprocess.Popen] = {}
    try:
        while waiting or running:
            while waiting and len(running) < len(os.sched_getaffinity(0)):
                argument = waiting.pop(0)
                running[argument] = start(function, [argument], root)
            time.sleep(0.02)
            for argument, child in list(running.items()):
                if child.poll() is not None:
                    problems[argument] = problem_of(running.pop(argument))
    finally:
        for child in running.values():
            child.kill()
            child.wait()
    return {argument: problem for argument, problem in problems.items() if problem}
