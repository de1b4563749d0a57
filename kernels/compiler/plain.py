"""Entry kernels by what numba documents, and nothing else: compiled in this process, kept in numba's own cache.

numba's cache takes no notice of a helper that changes in another file, nor of a damaged file of its own. So it lies in
the directory that is named by everything that decides about the code, and a list of its files with their hashes
says whether they are what was written. If not, they are removed and compiled anew.
"""

import functools
import hashlib
import json
import operator
import os
import shutil
import threading

import numpy as np
from numba import config, njit, typeof

from .compile_lock import CompileLock
from .fingerprint import cache_path, cache_root
from .obtaining import problem_of_room, say, say_once

_LIST = "files.json"
_compiling = threading.RLock()


class PlainEntry:
    """An entry kernel that numba compiles, or loads, at its first call."""

    def __init__(self, function, key: str, options: dict):
        functools.update_wrapper(self, function)
        self._key = key
        self._options = options
        self._compiled = None

    def __call__(self, *args):
        _check(self.__name__, args)
        if self._compiled is None:
            with _compiling:
                if self._compiled is None:
                    self._compiled = self._compile(args)
        return self._compiled(*args)

    def _compile(self, args):
        place = cache_path(self._key) / "numba"
        types = [tuple(typeof(value) for value in args)]
        try:
            with CompileLock(place.parent):
                place.mkdir(parents=True, exist_ok=True)
                kept = _kept(self._key, place)
                if not kept:
                    self._check_room()
                config.CACHE_DIR = str(place)
                compiled = njit(types, cache=True, **self._options)(self.__wrapped__)
                if _hashes(place) != kept:
                    _write_list(place)
                return compiled
        except OSError as error:
            say_once(f"the compile cache {cache_root()} cannot be written ({error.strerror}): every run compiles its"
                     " kernels anew, for a few minutes (set PLENA_CACHE_DIR)")
            return njit(types, **self._options)(self.__wrapped__)

    def _check_room(self):
        problem = problem_of_room((self._key,), cache_root())
        if problem is not None:
            raise OSError(0, problem)
        say_once(f"numba alone compiles the kernels (a few minutes); the result is kept in {cache_root()}")


def _check(name, values):
    """Refuse what numba would convert: only arrays, integers and tuples of them are arguments of kernels."""
    for value in values:
        if isinstance(value, tuple):
            _check(name, value)
        elif not isinstance(value, np.ndarray):
            try:
                operator.index(value)
            except TypeError:
                raise TypeError(f"{name}: found an argument of type {type(value).__name__}, expected arrays, integers"
                                " and tuples of them") from None


def _hashes(place):
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(place.rglob("*")) if path.is_file() and path.name != _LIST}


def _kept(key, place):
    """Hashes of numba's files by name; the directory is emptied first if they are not those of the list."""
    found = _hashes(place)
    try:
        listed = json.loads((place / _LIST).read_text())
    except FileNotFoundError:
        listed = {}
    except (OSError, ValueError):
        listed = None
    if found == listed:
        return found
    if listed != {}:
        say(f"kept kernels of {key} are not what was written: compiling them again")
    for path in place.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {}


def _write_list(place):
    temporary = place / f"{_LIST}.tmp"
    temporary.write_text(json.dumps(_hashes(place)))
    os.replace(temporary, place / _LIST)
