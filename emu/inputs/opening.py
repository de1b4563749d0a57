"""Opens input files; a named pipe (FIFO) that nobody writes is refused, where opening it would wait for ever."""

import errno
import os
import stat
from typing import Any

WRITER_WAIT = 5.0  # seconds that a named pipe may be without a writer


def open_input(path: str | os.PathLike, buffering: int = -1) -> Any:
    """Open a file for reading bytes.

    Regular files, devices, `/dev/stdin` and process substitution (`<(…)`) open as `open` has it. A named pipe has
    `WRITER_WAIT` seconds until somebody opens it for writing: a script may start the writer after the reader. Once a
    writer is there, its data may take any time.

    Parameters
    ----------
    buffering : int
        As for `open`.

    Returns
    -------
    io.BufferedReader or io.FileIO
        A file object; the caller closes it.

    Raises
    ------
    OSError
        It cannot be opened, or is a named pipe that nobody has opened for writing.
    ValueError
        The name holds a NUL.
    """
    return open(path, "rb", buffering=buffering, opener=_open)


def _open(path, flags):
    """Open without waiting for a pipe's writer, then wait for it within bounds."""
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        return os.open(path, flags)
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    try:
        if not _has_writer(descriptor):
            why = f"found a named pipe that nobody opened for writing within {WRITER_WAIT:g} s"
            raise OSError(errno.ETIMEDOUT, why)
        os.set_blocking(descriptor, True)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _has_writer(descriptor):
    """Tell whether a pipe has a writer, or had one since it was opened; wait for one."""
    import select  # no other file needs it

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if poll.poll(1000 * WRITER_WAIT):  # there are data, or a writer came and went
        return True
    try:
        os.read(descriptor, 1)  # nothing has come: the end of a pipe without a writer, else an error
    except BlockingIOError:
        return True
    return False
