"""Which emulator made a result: a hash over its sources, so that a store never answers for another one."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os

from .. import __version__

_PACKAGES = ("", "kernels", "boards", "manifests", "models")  # their folders may lie anywhere
# What shows results, and what moves points around, decides about no result.
_APART = ("cli", "report", "bench", "examples", "sweeping", "__pycache__")
_ENDINGS = (".py", ".yaml", ".toml")


@functools.cache
def emulator_fingerprint() -> str:
    """Hash everything that results depend on.

    Returns
    -------
    str
        Version and 16 hexadecimal digits, such as `0.1.0-5c6f…`.
    """
    found = hashlib.sha256()
    for package in _PACKAGES:
        module = importlib.import_module(f"plena_emu.{package}".rstrip("."))
        root = os.path.dirname(str(module.__file__))
        for name, path in sorted(_sources(root, package)):
            with open(path, "rb") as file:
                found.update(f"{package}/{name}\0".encode() + hashlib.sha256(file.read()).digest())
    return f"{__version__}-{found.hexdigest()[:16]}"


def _sources(root, package):
    for folder, folders, names in os.walk(root):
        inner = os.path.relpath(folder, root)
        apart = {*_APART, *(_PACKAGES[1:] if not package and inner == "." else ())}
        folders[:] = [name for name in folders if name not in apart]
        for name in names:
            if name.endswith(_ENDINGS):
                path = os.path.join(folder, name)
                yield os.path.relpath(path, root), path
