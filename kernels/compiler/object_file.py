"""The file that keeps the object code of one module's entry kernels, checked from end to end when it is read.

A line that names the format, the SHA-256 of all that follows, a header (one line of JSON), then the object code of
the entries, one after the other. The header tells of each where it lies, the symbol to call and its arguments.
"""

import hashlib
import json
import os
import pathlib
import shutil
from typing import NamedTuple

NAME = "objects"
_FORMAT = b"plena-emu object code 1\n"
_DIGEST = 64  # hexadecimal digits of a SHA-256
MOST_BYTES = 1 << 28


class DamagedFile(Exception):
    """A file that is not what was written; says what it is instead."""


class ObjectCode(NamedTuple):
    """One entry kernel: its symbol, the text of its argument kinds (see `arguments`), and its object file."""

    symbol: str
    kinds: str
    code: bytes


class ModuleCode(NamedTuple):
    """Object code of a module: `ObjectCode` by the name of the entry, and symbols that stand-ins may define."""

    entries: dict
    stand_ins: list


def encode(owner: str, module: ModuleCode) -> bytes:
    """Lay out the bytes of the file; `owner` says whose code it is (key and fingerprint)."""
    listed = {}
    start = 0
    for name, entry in module.entries.items():
        listed[name] = {"symbol": entry.symbol, "kinds": entry.kinds, "start": start, "size": len(entry.code)}
        start += len(entry.code)
    header = {"owner": owner, "entries": listed, "stand_ins": module.stand_ins, "size": start}
    body = json.dumps(header).encode() + b"\n" + b"".join(entry.code for entry in module.entries.values())
    return _FORMAT + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def decode(owner: str, data: bytes) -> ModuleCode:
    """Read what `encode` laid out.

    Raises
    ------
    DamagedFile
        The bytes are not those that were written, or were written for another owner.
    """
    if not data:
        raise DamagedFile("is empty")
    start = len(_FORMAT) + _DIGEST + 1
    if not data.startswith(_FORMAT):
        raise DamagedFile("is not a file of object code")
    body = memoryview(data)[start:]
    if data[len(_FORMAT) : start] != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise DamagedFile("is damaged or cut short")
    text, _, code = data[start:].partition(b"\n")
    header = json.loads(text)
    if header["owner"] != owner:
        raise DamagedFile(f"belongs to {header['owner']}")
    entries = {
        name: ObjectCode(entry["symbol"], entry["kinds"], code[entry["start"] : entry["start"] + entry["size"]])
        for name, entry in header["entries"].items()
    }
    return ModuleCode(entries, header["stand_ins"])


def read(directory: pathlib.Path, owner: str) -> ModuleCode | None:
    """Read the file of a module's directory.

    Returns
    -------
    ModuleCode or None
        None when there is no such file.

    Raises
    ------
    DamagedFile
        It cannot be read, or is not what was written.
    """
    try:
        with open(directory / NAME, "rb") as file:
            return decode(owner, file.read(MOST_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedFile(f"cannot be read: {error.strerror}") from None


def write(path: pathlib.Path, data: bytes) -> None:
    """Write a file that is on the disk when this returns, so that it may be given its final name."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def publish(temporary: pathlib.Path, final: pathlib.Path) -> None:
    """Give a written file its final name, for good once this returns; whatever bears it goes."""
    try:
        os.replace(temporary, final)
    except IsADirectoryError:
        shutil.rmtree(final)
        os.replace(temporary, final)
    directory = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    except OSError:  # a file system that does not sync directories
        pass
    finally:
        os.close(directory)
