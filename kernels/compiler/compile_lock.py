"""The lock of a module's directory: one process compiles into it, the others wait and take what it kept."""

import fcntl


class CompileLock:
    """Context in which no other process compiles into a directory; where it cannot be locked, two may do so.

    That costs time, never a wrong file: files get their final names when they are complete.
    """

    def __init__(self, directory):
        self._path = directory / "lock"
        self._file = None

    def __enter__(self):
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(self._path, "wb")
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError:  # read-only, or a file system without locks
            pass

    def __exit__(self, *_):
        if self._file is not None:
            self._file.close()
