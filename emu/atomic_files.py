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
    with whole_file(path, what) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, what: str = "output"):
    """Context of a file open for bytes, no part of which ever has the final name.

    Raises `EmuError` naming `what` and the path when it cannot be written.
    """
    target = os.fspath(path)
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            # A pipe or a device (`-o /dev/stdout`) is written to, never replaced.
            with open(target, "wb") as file:
                yield file
            return
        with replacing(target) as file:
            yield file
    except OSError as error:
        raise EmuError(f"{what} {target}: cannot write: {error.strerror}") from None


def check_directory(path: str | None, what: str) -> None:
    """Refuse a place where no output file can be, before the work and not after it; raises `EmuError`."""
    if path and os.path.basename(path) and os.path.isdir(path):
        raise EmuError(f"{what} {path}: found a directory, expected a file")
    directory = os.path.dirname(path or "") or "."
    if not os.path.isdir(directory):
        raise EmuError(f"{what} {path}: directory {directory} does not exist")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
