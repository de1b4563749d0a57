"""Files that are checked from end to end when they are read: a line that names the format, a checksum, a value.

The value is what `marshal` has: numbers, text, bytes, and tuples, lists and dicts of them. Only processes of the same
version of Python read such a file: its name or its place holds the version.
"""

import marshal
import os
import zlib

# Hexadecimal digits of a CRC-32: it is for accidents, and the library with SHA-256 takes longer to load than to check.
_CHECKSUM = 8


class DamagedFile(Exception):
    """A file that is not what was written; says what it is instead."""


def seal(name: bytes, value) -> bytes:
    """Lay out the bytes of a file of the format `name`."""
    body = marshal.dumps(value)
    return b"%b\n%08x\n%b" % (name, zlib.crc32(body), body)


def unseal(name: bytes, data: bytes, what: str):
    """Read what `seal` laid out; `what` calls it by name.

    Raises
    ------
    DamagedFile
        The bytes are not those that were written.
    """
    if not data:
        raise DamagedFile("is empty")
    if not data.startswith(name + b"\n"):
        raise DamagedFile(f"is not {what}")
    start = len(name) + 1 + _CHECKSUM + 1
    body = memoryview(data)[start:]
    if data[len(name) + 1 : start] != b"%08x\n" % zlib.crc32(body):
        raise DamagedFile("is damaged or cut short")
    return marshal.loads(body)


def write(path: str | os.PathLike, data: bytes) -> None:
    """Write a file that is on the disk when this returns, so that it may be given its final name."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
