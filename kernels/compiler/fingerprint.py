"""Where compiled kernels live and what names that place (no numba here: it is imported later).

Every module with entry kernels has a directory of its own. Its name is a hash of the module's
source and of every source it imports, directly or not (the instruction table among them), the versions of
Python, numba, llvmlite and numpy, the CPU and every variable that changes code. A changed kernel therefore
never finds stale code (numba itself does not notice a changed helper in another file), and a
change in one pass does not recompile the others. Reading every source anew would take a twentieth of a short run: see
`kept_fingerprints`.

The key of a module is its dotted name below `plena_emu.kernels`.
"""

from __future__ import annotations

import functools
import itertools
import os
import sys

from .kept_fingerprints import KeptFingerprints, settled_stamp

TYPE_CHECKING = False  # as `typing` has it; nor is `pathlib` imported where code is kept and ready
if TYPE_CHECKING:
    import pathlib

KERNELS = "plena_emu.kernels"

# Set to 4, 8 or 16, it overrides how many f32 a vector of the kernels has (`simd`).
LANES_VARIABLE = "PLENA_SIMD_LANES"

# Variables that name places or threads, not code.
_NEUTRAL = {"NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER", "NUMBA_DISABLE_JIT"}


def module_key(function) -> str:
    """Name the module of a kernel by the key under which its machine code is kept.

    Raises
    ------
    ValueError
        The function's module is not below `plena_emu.kernels`.
    """
    module = function.__module__
    if not module.startswith(f"{KERNELS}."):
        raise ValueError(f"{module}.{function.__qualname__}: an entry kernel belongs below {KERNELS}")
    return module.removeprefix(f"{KERNELS}.")


@functools.cache
def cpu_text() -> str:
    """Read what differs between CPUs for which numba would generate different code.

    Returns
    -------
    str
    """
    try:
        with open("/proc/cpuinfo", "rb") as info:
            lines = itertools.takewhile(bytes.strip, info)  # of the first CPU: there may be hundreds
            keep = (b"model name", b"cpu family", b"model\t", b"flags", b"Features", b"CPU part")
            return b"".join(line for line in lines if line.startswith(keep)).decode(errors="replace")
    except OSError:
        import platform

        return platform.processor() + platform.machine()


@functools.cache
def package_version(name: str) -> str:
    """Version of an installed package by the name of its metadata directory: `importlib.metadata` takes longer
    to be imported than all else that is needed to start a run."""
    for place in sys.path:
        for entry in _metadata_in(place):
            if entry.startswith(f"{name}-"):
                return entry[len(name) + 1 : -len(".dist-info")]
    from importlib.metadata import version

    return version(name)


@functools.cache
def _metadata_in(place):
    """Names of the metadata directories in an entry of the search path."""
    try:
        return [entry for entry in os.listdir(place or ".") if entry.endswith(".dist-info")]
    except OSError:
        return []


@functools.cache
def _environment():
    """Text of everything but the sources that decides about machine code."""
    parts = [f"{package} {package_version(package)}" for package in ("numba", "llvmlite", "numpy")]
    parts += [sys.version, cpu_text()]
    parts += [f"{name}={os.environ[name]}" for name in sorted(os.environ)
              if name == LANES_VARIABLE or (name.startswith("NUMBA_") and name not in _NEUTRAL)]
    return "\n".join(parts)


@functools.cache
def _kept(root):
    """Fingerprints that earlier processes kept below a directory."""
    places = [os.path.abspath(sys.modules[package].__path__[0]) for package in ("plena_emu", KERNELS)]
    return KeptFingerprints(root, "\n".join(places), _environment())


@functools.cache
def _file(name):
    """(Path of the source of a module of the package by its dotted name, whether it is a package); None without."""
    package = KERNELS if f"{name}.".startswith(f"{KERNELS}.") else "plena_emu"  # they need not lie beside each other
    path = os.path.join(sys.modules[package].__path__[0], *name.removeprefix(package).split("."))
    if os.path.isfile(f"{path}.py"):
        return f"{path}.py", False
    package = os.path.join(path, "__init__.py")
    return (package, True) if os.path.isfile(package) else None


@functools.cache
def _read(name):
    """(Source of a module, its `settled_stamp` from before it was read)."""
    path, _ = _file(name)
    with open(path, "rb") as file:
        stamp = settled_stamp(file.fileno())
        return file.read(), stamp


@functools.cache
def _imports(name):
    """Dotted names of the modules of the package that a module's own text imports, their packages included."""
    from .imports import imported_names

    _, is_package = _file(name)
    source = _read(name)[0].decode()
    try:
        return _modules_of(imported_names(source, name, is_package))
    except ModuleNotFoundError:  # perhaps of a line that only looks like one
        return _modules_of(imported_names(source, name, is_package, exact=True))


def _modules_of(imported):
    found = set()
    for base, names in imported:
        if base.partition(".")[0] != "plena_emu":
            continue
        place = _file(base)
        if place is None:
            raise ModuleNotFoundError(f"a kernel module imports {base}: found no such module in {KERNELS} or emu")
        inner = {f"{base}.{name}" for name in names} if place[1] else set()
        modules = {name for name in inner if _file(name)}
        # The face of the package is imported before everything else; it counts where a name is taken from it.
        if base != "plena_emu" or inner != modules:
            modules.add(base)
        for module in modules:
            found |= {module, *_packages(module)}
    return found


def _packages(name):
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(2, len(parts))}


@functools.cache
def sources(module: str) -> list[str]:
    """List the dotted names of the modules that a kernel module is made of: itself and all it imports, sorted.

    Their packages are among them, all but `plena_emu` itself. `module` is a key.
    """
    name = f"{KERNELS}.{module}"
    found = {name, *_packages(name)}
    todo = list(found)
    while todo:
        new = _imports(todo.pop()) - found
        found |= new
        todo += new
    return sorted(found)


@functools.cache
def fingerprint(module: str) -> str:
    """Hex digest of everything that decides about the machine code of a module's entry kernels."""
    kept = _kept(_root())
    return kept.find(module) or _computed(module, kept)


def _computed(module, kept):
    """Compute the fingerprint of a module from its sources, and keep it."""
    import hashlib

    digest = hashlib.sha256(_environment().encode(errors="surrogateescape"))
    for name in sources(module):
        digest.update(name.encode())
        digest.update(hashlib.sha256(_read(name)[0]).digest())
    found = digest.hexdigest()[:20]
    kept.keep(module, found, {os.path.abspath(_file(name)[0]): _read(name)[1] for name in sources(module)})
    return found


def _root():
    chosen = os.environ.get("PLENA_CACHE_DIR")
    if chosen:
        return chosen
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "plena-emu")


def cache_root() -> pathlib.Path:
    """Directory above all others: `$PLENA_CACHE_DIR`, else the user's cache directory."""
    import pathlib

    return pathlib.Path(_root())


def cache_path(module: str, root: pathlib.Path | None = None) -> pathlib.Path:
    """Where a module's entry kernels are kept, be it there or not; `root` in place of `cache_root()`."""
    return (root or cache_root()) / owner_of(module)


def directory_of(module: str) -> str:
    """Name the directory that `cache_path` names."""
    return os.path.join(_root(), owner_of(module))


def owner_of(module: str) -> str:
    """Name a module's compiled code: its key, dots as hyphens, and its fingerprint."""
    return f"{module.replace('.', '-')}-{fingerprint(module)}"
