"""Output files that are whole or not there at all, alone or as a set.

A file is written under a temporary name beside its own and takes its name when it is whole. A symbolic link is
followed: the link stays, the file it names is replaced. An existing file keeps its mode and owner. Where replacing
would break something - a file with more than one name, a mounted file, a directory that takes no new files - the
content is copied into the file once it is whole; pipes, devices and open descriptors (`/dev/stdout`) are written to.
"""

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from . import interrupts
from .errors import EmuError, UsageError

_PREFIX, _SUFFIX = ".plena-", ".tmp"  # of temporary names: short, so that the longest name of a file can be written
_MOST_LINKS = 40  # that Linux follows
_NOT_REPLACED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)  # the file may take what its directory does not
_PART = 1 << 20  # bytes copied at a time
_swept: set[str] = set()  # directories


class OutputSet:
    """Context of output files that appear together: at its end all take their names, after any error none does.

    Signals wait while names are taken. Raises `OSError` with the file's name in `filename`.
    """

    def __init__(self):
        self._outputs: list[_Output] = []
        self._cleaning = interrupts.cleaning(self._discard)

    def __enter__(self):
        self._cleaning.__enter__()
        return self

    def open(self, path: str) -> BinaryIO:
        """Begin a file; returns its temporary one, open for bytes."""
        output = _Output(path)
        self._outputs.append(output)
        output.begin()
        return output.file

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self._place()
        finally:
            self._discard()
            self._cleaning.__exit__(None, None, None)

    def _place(self):
        for output in self._outputs:
            with _named(output.path):
                output.file.flush()
        with interrupts.deferred():
            for number, output in enumerate(self._outputs):
                try:
                    with _named(output.path):
                        output.place()
                except OSError:
                    for placed in self._outputs[:number]:
                        placed.withdraw()
                    raise

    def _discard(self):
        for output in self._outputs:
            output.discard()


class _Output:
    """One output file under way."""

    file: BinaryIO

    def __init__(self, path):
        self.path = path
        self.descriptor = _descriptor(path)
        self.target = os.path.realpath(path) if os.path.islink(path) else path
        self.temporary: str | None = None

    def begin(self):
        """Open the temporary file: beside the target, or without a name where the target is not replaced."""
        found = None if self.descriptor is not None else _existing(self.path)
        if self.descriptor is not None or found is not None and not stat.S_ISREG(found.st_mode):
            return self._open_nameless()
        if found is not None and not os.access(self.path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)
        try:
            self.file, self.temporary = _open_temporary(os.path.dirname(self.target) or ".", found)
        except OSError as error:
            if found is None or error.errno not in _NOT_REPLACED:
                raise
            return self._open_nameless()
        self._is_replaced = found is None or found.st_nlink == 1
        return None

    def _open_nameless(self):
        import tempfile

        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `discard`
        self._is_replaced = False

    def place(self):
        """Give the whole file its name, or its content to what has the name."""
        if self._is_replaced:
            try:
                os.replace(self.temporary, self.target)
                self.temporary = None
                return
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
        with _writing(self.path, self.descriptor) as target:
            _copy(self.file.fileno(), target)

    def withdraw(self):
        """Take a file back that has its name already."""
        with contextlib.suppress(OSError):
            if self._is_replaced:
                os.unlink(self.target)
            elif self.descriptor is None:
                os.truncate(self.path, 0)

    def discard(self):
        """Remove the temporary file; nothing where it has taken its name."""
        if self.temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.temporary)
            self.temporary = None
        if hasattr(self, "file"):
            with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: a signal came while it was written
                self.file.close()


def write_whole(path: str | os.PathLike, data: bytes, what: str = "output") -> None:
    """Write `data` to `path`, so that no part of it ever has the final name.

    Raises
    ------
    EmuError
        Names `what` and the path when it cannot be written.
    """
    target = os.fspath(path)
    with told(what, target):
        if _is_written_through(target):
            with _writing(target, _descriptor(target)) as descriptor:
                _write(descriptor, data)
            return
        with OutputSet() as outputs:
            outputs.open(target).write(data)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, what: str = "output") -> Iterator[BinaryIO]:
    """Open a file for bytes as a context; no part of it ever has the final name.

    Raises
    ------
    EmuError
        Names `what` and the path when it cannot be written.
    """
    target = os.fspath(path)
    with told(what, target):
        if _is_written_through(target):
            with _writing(target, _descriptor(target)) as descriptor, open(descriptor, "wb", closefd=False) as file:
                yield file
            return
        with OutputSet() as outputs:
            yield outputs.open(target)


@contextlib.contextmanager
def told(what, target):
    """Tell in one line that the file `target` cannot be written: an `EmuError` in place of an `OSError` inside."""
    try:
        yield
    except BrokenPipeError:
        if _descriptor(target) == 1:
            raise  # whoever reads standard output has seen enough
        raise EmuError(f"{what} {target}: cannot write: nobody reads it any more") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and "\0" not in target:
            raise  # not about the name
        raise EmuError(f"{what} {target}: cannot write: {getattr(error, 'strerror', None) or error}") from None


def check_directory(path: str | None, what: str) -> None:
    """Refuse a place where no output file can be, before the work and not after it; raises `EmuError`."""
    if path and os.path.basename(path) and os.path.isdir(path):
        raise EmuError(f"{what} {path}: found a directory, expected a file")
    directory = os.path.dirname(path or "") or "."
    if not os.path.isdir(directory):
        raise EmuError(f"{what} {path}: directory {directory} does not exist")


def check_writable(path: str | None, what: str) -> None:
    """Refuse a place where no output file can be written, by making a file there without a name; raises `EmuError`."""
    check_directory(path, what)
    if not path or os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device
        return
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
            pass
    except OSError as error:
        raise EmuError(f"{what} {path}: cannot write: {error.strerror}") from None


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


def check_outputs(outputs: Iterable[tuple[str, str | None]], inputs: Iterable[tuple[str, str | None]] = ()) -> None:
    """Refuse an output that is an input or another output, whatever it is called, before anything is opened.

    Parameters
    ----------
    outputs, inputs : iterable of (str, str or None)
        What names a file, such as a flag, and its path; None where there is none. Files are compared by device and
        inode. Pipes and devices, and inputs that are not there, are nobody's.

    Raises
    ------
    UsageError
    """
    read = {identity: name for name, path in inputs if (identity := _identity(path)) is not None}
    written: dict[object, str] = {}
    for name, path in outputs:
        if path is None:
            continue
        identity = _identity(path)
        if identity in read:
            raise UsageError(f"{name} {path}: found the file that {read[identity]} names, expected a file that is not"
                             " read")
        if _descriptor(path) is not None:
            continue
        if identity is None and not os.path.exists(path):
            identity = os.path.realpath(path)
        if identity in written:
            raise UsageError(f"{name} {path}: found the file that {written[identity]} names, expected a file for each")
        if identity is not None:
            written[identity] = name


def _identity(path):
    """(Device, inode) of a regular file; None for anything else."""
    try:
        found = os.stat(path)
    except (OSError, TypeError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _existing(path):
    """What `path` names, links followed; None where nothing is there yet."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return found


def _descriptor(path):
    """Number of the open descriptor that `path` names, as `/dev/stdout` does, or None."""
    for _ in range(_MOST_LINKS):
        parent, name = os.path.split(path)
        if name.isascii() and name.isdecimal():
            parts = os.path.realpath(parent or ".").split(os.sep)
            if parts[:3] == ["", "proc", str(os.getpid())] and parts[-1] == "fd":
                return int(name)
        try:
            path = os.path.join(parent, os.readlink(path))
        except (OSError, ValueError):
            return None
    return None


def _is_written_through(path):
    if _descriptor(path) is not None:
        return True
    found = _existing(path)
    return found is not None and not stat.S_ISREG(found.st_mode)


@contextlib.contextmanager
def _writing(path, descriptor):
    """Open what is not replaced, as a context: a file descriptor."""
    if descriptor is None:
        opened = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    else:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, ValueError):  # closed, or replaced by something without a number
                if stream.fileno() == descriptor:
                    stream.flush()
        opened = os.dup(descriptor)  # opened anew, a file would be written from its beginning
    try:
        yield opened
    finally:
        os.close(opened)


def _write(descriptor, data):
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _copy(source, target):
    """Copy a whole file into an open one: holes stay holes where the target can have them."""
    size = os.fstat(source).st_size
    if not stat.S_ISREG(os.fstat(target).st_mode):
        return _copy_range(source, target, 0, size)
    begin = os.lseek(target, 0, os.SEEK_CUR)  # not 0 for standard output that others have written to
    os.ftruncate(target, begin)
    try:
        for first, end in _extents(source, size):
            os.lseek(target, begin + first, os.SEEK_SET)
            _copy_range(source, target, first, end)
        os.ftruncate(target, begin + size)
        os.lseek(target, begin + size, os.SEEK_SET)
    except BaseException:
        os.ftruncate(target, begin)  # empty rather than half a file
        raise
    return None


def _copy_range(source, target, first, end):
    for at in range(first, end, _PART):
        _write(target, os.pread(source, min(_PART, end - at), at))


def _extents(source, size):
    """Yield (first, end) of the ranges of a file that hold data."""
    at = 0
    while at < size:
        try:
            first = os.lseek(source, at, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            return
        at = os.lseek(source, first, os.SEEK_HOLE)
        yield first, at


@contextlib.contextmanager
def _named(path):
    """Put the name of the file that is meant into errors."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), path) from None


def _open_temporary(directory, found):
    """Create a temporary file with mode and owner of the file `found`; (file, path).

    Its lock says that somebody writes it: one without is left over from a process that was killed.
    """
    import fcntl

    _sweep(directory)
    while True:
        path = os.path.join(directory, f"{_PREFIX}{os.urandom(6).hex()}{_SUFFIX}")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                                 0o666 if found is None else 0o600)
        except FileExistsError:
            continue
        with contextlib.suppress(OSError):  # a file system without locks: nobody sweeps there either
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink == 0:  # swept between the two
            os.close(descriptor)
            continue
        if found is not None:
            with contextlib.suppress(OSError):  # only its owner, or root, can give it away
                os.fchown(descriptor, found.st_uid, found.st_gid)
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, stat.S_IMODE(found.st_mode))
        return open(descriptor, "w+b"), path


def _sweep(directory):
    """Remove temporary files that killed processes left in a directory; once a process."""
    import fcntl

    place = os.path.abspath(directory)
    if place in _swept:
        return
    _swept.add(place)
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        left = [entry.path for entry in entries if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX)]
        for path in left:
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path)
                finally:
                    os.close(descriptor)
