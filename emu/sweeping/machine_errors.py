"""Errors that say something about the machine and nothing about a point: a full disk, a directory that takes no files.

Such an error ends a sweep and is never stored, because the same point can run another time or elsewhere.
"""

from __future__ import annotations

import errno

from ..errors import EmuError

_OF_MACHINE = frozenset((
    errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE,
    errno.ENOMEM, errno.ESTALE))  # fmt: skip


class MachineError(EmuError):
    """What ended a sweep is the machine's and not a point's."""


def error_of_machine(error: BaseException) -> OSError | None:
    """Find the machine's error behind an error, such as behind the `EmuError` that tells it in one line.

    Returns
    -------
    OSError or None
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.errno in _OF_MACHINE:
            return found
        # `raise … from None` hides the context from a traceback and keeps it.
        found = found.__cause__ or found.__context__
    return None


def told(error: BaseException) -> str:
    """Tell an error in one line, an `OSError` with its file."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return str(error)
