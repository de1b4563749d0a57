"""Output files that are whole or not there at all."""

import contextlib
import os

from .errors import EmuError


@contextlib.contextmanager
def replacing(path: str):
    """Open a temporary file beside `path` for bytes, as a context; without an error it takes that name at the end.

    Whatever goes wrong, Ctrl-C included, nothing is left under either name. Raises `OSError`.
    """
    import tempfile  # not needed to look at a command line

    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path) or ".")
    try:
        with open(handle, "wb") as file:
            yield file
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_whole(path: str | os.PathLike, data: bytes, what: str = "output") -> None:
    """Write `data` to `path`, so that no part of it ever has the final name.

    Raises `EmuError` naming `what` and the path when it cannot be written.
    """
    target = os.fspath(path)
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            # A pipe or a device (`-o /dev/stdout`) is written to, never replaced.
            with open(target, "wb") as file:
                file.write(data)
            return
        with replacing(target) as file:
            file.write(data)
    except OSError as error:
        raise EmuError(f"{what} {target}: cannot write: {error.strerror}") from None


def check_directory(path: str | None, what: str) -> None:
    """Refuse a place where no output file can be, before the work and not after it; raises `EmuError`."""
    if path and os.path.basename(path) and os.path.isdir(path):
        raise EmuError(f"{what} {path}: found a directory, expected a file")
    directory = os.path.dirname(path or "") or "."
    if not os.path.isdir(directory):
        raise EmuError(f"{what} {path}: directory {directory} does not exist")


def check_creatable(directory: str, what: str) -> None:
    """Refuse a directory that is not there and cannot be made there, before the work; raises `EmuError`."""
    place = os.path.abspath(directory)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        raise EmuError(f"{what} {directory}: {place} is no directory")


def make_directory(directory: str, what: str) -> None:
    """Make a directory, and those above it, where they are not there yet; raises `EmuError`."""
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise EmuError(f"{what} {directory}: cannot make the directory: {error.strerror}") from None


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
