"""numba's on-disk cache of the entry kernels, in the directories of `cache`."""

import os

from numba.core.caching import FunctionCache

from .fingerprint import cache_dir, module_key


class _Place:
    """Where an entry kernel is kept, in the form numba asks for it.

    The directory's name says what is in it: nothing there can be stale, and every installation with the same
    sources shares it, wherever those lie.
    """

    def __init__(self, directory):
        self._directory = directory

    @classmethod
    def from_function(cls, function, file):
        return cls(os.path.join(cache_dir(module_key(function)), "numba"))

    def ensure_cache_path(self):
        os.makedirs(self._directory, exist_ok=True)

    def get_cache_path(self):
        return self._directory

    def get_source_stamp(self):
        return "named by content"

    def get_disambiguator(self):
        return "entry"


class _EntryFiles(FunctionCache._impl_class):
    _locator_classes = [_Place]


class EntryCache(FunctionCache):
    """Cache of one entry kernel; its module's directory must be writable."""

    _impl_class = _EntryFiles
    _problem = None

    def save_overload(self, sig, data):
        """Keep machine code; what prevents it is for `check` to tell, the code can run all the same."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            self._problem = error

    def check(self):
        """Raise the `OSError` because of which something was not kept."""
        if self._problem is not None:
            raise self._problem
