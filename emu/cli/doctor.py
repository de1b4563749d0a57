"""Show versions and the compile cache, and warm it: afterwards every run starts with compiled kernels.

The cache lies in $PLENA_CACHE_DIR, else in plena-emu below $XDG_CACHE_HOME or ~/.cache. Kernels that are damaged or
lack there are compiled; --prune removes those of other versions, of other CPUs and of other settings of numba.
"""

import contextlib
import re
import shutil
import time

_DIRECTORY = re.compile(r"[a-z0-9_-]+-[0-9a-f]{20}")  # what the cache names its directories


def configure(parser):
    parser.add_argument("--no-warm", action="store_true", help="only look")
    parser.add_argument("--prune", action="store_true", help="remove compiled kernels of other versions")


def run(args):
    import importlib.metadata
    import platform

    from .. import __version__
    from ..kernels.compiler import modes
    from ..kernels.compiler.fingerprint import cache_root
    from ..precompile import kernel_mode, warm

    print(f"plena-emu  {__version__}")
    print(f"python     {platform.python_version()} on {platform.machine()}")
    for package in ("numba", "llvmlite", "numpy", "msgspec"):
        print(f"{package:<10} {importlib.metadata.version(package)}")
    print(f"cache      {cache_root()}")
    if kernel_mode() == modes.PYTHON:
        print("kernels    run in plain Python, slowly: NUMBA_DISABLE_JIT=1")
    elif kernel_mode() == modes.PLAIN:
        print("kernels    are compiled by numba alone in every process: PLENA_PLAIN_NUMBA=1")
    _show_kept()
    _others(args.prune)
    if args.no_warm:
        return 0
    begin = time.perf_counter()
    warm()
    print(f"warmed     in {time.perf_counter() - begin:.1f} s")
    _show_kept()
    return 0


def _show_kept():
    """A line for each module of entry kernels; creates nothing."""
    from ..kernels.compiler.fingerprint import cache_path
    from ..kernels.compiler.obtaining import look
    from ..precompile import MODULES

    for module in sorted(MODULES):
        directory = cache_path(module)
        found = look(module)
        if found in ("ready", "not compiled"):
            size = f" {_mebibytes(directory):6.1f} MiB in {directory.name}" if directory.exists() else ""
            print(f"  {module:<16} {found:<12}{size}")
        else:
            print(f"  {module:<16} {found}: {directory}")


def _others(prune):
    """What other versions left, removed if that is asked for."""
    from ..kernels.compiler.fingerprint import cache_path, cache_root
    from ..precompile import MODULES

    current = {cache_path(module) for module in MODULES}
    try:
        others = [path for path in cache_root().iterdir()
                  if path not in current and path.is_dir() and _DIRECTORY.fullmatch(path.name)]
    except OSError:
        return
    if not others:
        return
    found = f"{len(others)} directories of other versions, {sum(map(_mebibytes, others)):.1f} MiB"
    if not prune:
        print(f"  {found}: --prune removes them")
        return
    for path in others:
        shutil.rmtree(path, ignore_errors=True)
    left = sum(path.exists() for path in others)
    print(f"  {found}: {f'{left} of them cannot be removed' if left else 'removed'}")


def _mebibytes(directory):
    total = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(OSError):  # removed meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total / 2**20
