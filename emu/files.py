"""Output files that are whole or not there at all."""

import os
import tempfile

from .errors import EmuError


def write_whole(path: str | os.PathLike, data: bytes, what: str = "output") -> None:
    """Write `data` to `path` through a temporary file beside it, so that no part of it ever has the final name.

    Raises `EmuError` naming `what` and the path when it cannot be written.
    """
    target = os.fspath(path)
    temporary = None
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            # A pipe or a device (`-o /dev/stdout`) is written to, never replaced.
            with open(target, "wb") as file:
                file.write(data)
            return
        handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(target)}.", dir=os.path.dirname(target) or ".")
        with open(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise EmuError(f"{what} {target}: cannot write: {error.strerror}") from None
    finally:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
