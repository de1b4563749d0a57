"""Show versions and the compile cache, and warm it: afterwards every run starts with compiled kernels.

The cache lies in $PLENA_CACHE_DIR, else in plena-emu below $XDG_CACHE_HOME or ~/.cache.
"""

import time


def configure(parser):
    parser.add_argument("--no-warm", action="store_true", help="only look")


def run(args):
    import importlib.metadata
    import platform

    from .. import __version__
    from ..kernels.compiler.fingerprint import cache_root

    print(f"plena-emu  {__version__}")
    print(f"python     {platform.python_version()} on {platform.machine()}")
    for package in ("numba", "llvmlite", "numpy", "msgspec"):
        print(f"{package:<10} {importlib.metadata.version(package)}")
    print(f"cache      {cache_root()}")
    _show_cache(looking=True)
    if args.no_warm:
        return 0

    from ..precompile import warm

    begin = time.perf_counter()
    warm()
    print(f"warmed     in {time.perf_counter() - begin:.1f} s")
    _show_cache(looking=False)
    return 0


def _show_cache(looking):
    """A line for each module of entry kernels that runs use, and what other versions left.

    `looking` creates nothing.
    """
    from ..kernels.compiler.fingerprint import cache_dir, cache_path, cache_root
    from ..precompile import MODULES, is_ready

    current = set()
    for module in sorted(MODULES):
        directory = cache_path(module)
        current.add(directory)
        if directory.exists() or not looking and cache_dir(module) is not None:
            state = "ready" if is_ready(module) else "when first used"
            print(f"  {module:<12} {state:<15} {_mebibytes(directory):6.1f} MiB in {directory.name}")
        elif looking:
            print(f"  {module:<12} not compiled")
        else:
            print(f"  {module:<12} cannot be written there: compiled anew by every run")
    try:
        others = [path for path in cache_root().iterdir() if path.is_dir() and path not in current]
    except OSError:
        others = []
    if others:
        print(f"  {len(others)} directories of other versions, {sum(map(_mebibytes, others)):.1f} MiB: may be deleted")


def _mebibytes(directory):
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) / 2**20
