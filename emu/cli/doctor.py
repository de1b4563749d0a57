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
    from ..kernels.cache import cache_dir, cache_root, fingerprint

    print(f"plena-emu  {__version__}")
    print(f"python     {platform.python_version()} on {platform.machine()}")
    for package in ("numba", "llvmlite", "numpy", "msgspec"):
        print(f"{package:<10} {importlib.metadata.version(package)}")
    directory = cache_dir()
    if directory is None:
        print(f"cache      {cache_root()} cannot be written: every run compiles its kernels anew")
    else:
        print(f"cache      {directory}")
        print(f"           {_contents(directory)}")
    print(f"others     {_others(cache_root(), fingerprint())}")
    if args.no_warm:
        return 0

    from ..warm import warm

    begin = time.perf_counter()
    warm()
    print(f"warm       all kernels ready after {time.perf_counter() - begin:.1f} s")
    if directory is not None:
        print(f"           {_contents(directory)}")
    return 0


def _contents(directory):
    """What lies in one cache directory."""
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return f"{len(sizes)} files, {sum(sizes) / 2**20:.1f} MiB" if sizes else "empty: the first run compiles"


def _others(root, current):
    """What other versions, CPUs or kernel sources left in the cache."""
    try:
        stale = [path for path in root.iterdir() if path.is_dir() and path.name != current]
    except OSError:
        stale = []
    return f"{len(stale)} directories of other versions in {root}" if stale else "no directories of other versions"
