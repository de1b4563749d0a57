"""Fingerprints that an earlier process computed, taken without reading a source again.

A fingerprint is kept with what the file system told of every source it was made of: path, device, file number, size,
and the times when content and status changed. It counts as long as none of these differs. Nobody can set the time of
the status: editors, `touch -d`, `cp -p`, version control and unpacking change it even where size and the time of the
content stay the same. Clocks of file systems tick, so a source that changed within the last seconds before it was read
could change again unseen: fingerprints of such sources are not kept.

Each installation keeps a file of its own for each environment, so that none overwrites another's.
"""

import contextlib
import functools
import os
import time
import zlib

from .sealed import DamagedFile, seal, unseal

_FORMAT = b"plena-emu fingerprints 1"
_SETTLED = 2_000_000_000  # ns since a source changed for the last time, before its fingerprint is kept

Stamp = tuple[int, int, int, int, int]  # device, file number, size, times of content and status in ns


def settled_stamp(file: int) -> Stamp | None:
    """Take what tells whether an open file changes (its descriptor); None where it changed a moment ago."""
    now = time.time_ns()
    stamp = _stamp(os.fstat(file))
    return stamp if max(stamp[-2:]) <= now - _SETTLED else None


def _stamp(status):
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class KeptFingerprints:
    """The fingerprints of one installation in one environment.

    Parameters
    ----------
    root : path
        Directory above all others of the compile cache.
    installation, environment : str
        Where the sources lie; what else decides about machine code.
    """

    def __init__(self, root, installation: str, environment: str):
        self._owner = (installation, environment)
        number = zlib.crc32("\0".join(self._owner).encode(errors="surrogateescape"))
        self._path = os.path.join(root, "fingerprints", f"{number:08x}")

    def find(self, module: str) -> str | None:
        """Look up the fingerprint of a module; None where it is not known, or one of its sources changed."""
        if module not in self._kept:
            return None
        fingerprint, stamps = self._kept[module]
        return fingerprint if all(_now(path) == stamp for path, stamp in stamps.items()) else None

    @functools.cached_property
    def _kept(self):
        """By module: (fingerprint, stamps by path)."""
        with contextlib.suppress(OSError, DamagedFile):
            with open(self._path, "rb", buffering=0) as file:
                owner, kept = unseal(_FORMAT, file.readall(), "a file of fingerprints")
            if owner == self._owner:
                return kept
        return {}

    def keep(self, module: str, fingerprint: str, stamps: dict[str, Stamp | None]) -> None:
        """Keep a fingerprint, if all its sources are settled, there is a compile cache, and a file can be written.

        Parameters
        ----------
        module, fingerprint : str
        stamps : dict of Stamp
            `settled_stamp` by the path of a source, from before it was read.
        """
        if None in stamps.values():
            return
        self._kept[module] = fingerprint, stamps
        temporary = f"{self._path}.{os.getpid()}.{time.monotonic_ns()}"
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.dirname(self._path))
            with open(temporary, "wb") as file:
                file.write(seal(_FORMAT, (self._owner, self._kept)))
            os.replace(temporary, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


@functools.cache
def _now(path):
    """Stamp of a file as it is; None where there is none."""
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None
