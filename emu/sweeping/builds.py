"""Builds that a sweep keeps on disk: each has a list of hashes over its files, and is used where they still fit.

The list is `SHA256SUMS` in the build, in the form that `sha256sum --check` reads. It is written last, before the build
takes its name, so that a build is whole or shows that it is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator

SUMS = "SHA256SUMS"


def seal(build: str) -> None:
    """Write the list of hashes over the files of a build, which has no such list yet. Raises `OSError`."""
    data = _sums(build)
    with open(os.path.join(build, SUMS), "wb") as file:
        file.write(data)


def is_whole(build: str) -> bool:
    """Tell whether a build is there with exactly the files that its list names; a build without a list is not whole.

    Raises
    ------
    OSError
        A file is there and cannot be read.
    """
    path = os.path.join(build, SUMS)
    try:
        if os.path.islink(path) or not os.path.isfile(path):
            return False
        expected = _sums(build)
        with open(path, "rb") as file:
            return file.read(len(expected) + 1) == expected
    except (FileNotFoundError, NotADirectoryError, ValueError):  # another sweep replaces it
        return False


def put_in_place(made: str, target: str, aside: str) -> None:
    """Give a sealed build its name, where no other process has put a whole one there meanwhile.

    Parameters
    ----------
    made : str
        The build, on the same disk as `target`.
    aside : str
        Name for what lies at `target` and is not whole; the caller removes it.

    Raises
    ------
    OSError
    """
    with _one_at_a_time(os.path.dirname(target)):
        if is_whole(target):
            return
        with contextlib.suppress(FileNotFoundError):
            os.rename(target, aside)
        try:
            os.rename(made, target)
        except OSError:
            if not is_whole(target):  # on a disk without locks another process was faster
                raise


def _sums(build):
    """The list of a build as it is now, by name; ValueError where something is no regular file."""
    lines = []
    with os.scandir(build) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name == SUMS:
                continue
            if not entry.is_file(follow_symlinks=False):
                raise ValueError(f"{entry.path}: expected a file")
            with open(entry.path, "rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {entry.name}\n")
    return "".join(lines).encode(errors="surrogateescape")


@contextlib.contextmanager
def _one_at_a_time(folder) -> Iterator[None]:
    """Hold the lock of a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a disk without locks: `put_in_place` sees who was faster
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
