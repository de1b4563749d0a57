"""The file that keeps the object code of one module's entry kernels (see `sealed` for its form).

It tells of each entry the symbol to call, its arguments, and its code.
"""

import os
from typing import NamedTuple

from .sealed import DamagedFile, seal, unseal

NAME = "objects"
_FORMAT = b"plena-emu object code 2"
MOST_BYTES = 1 << 28


class ObjectCode(NamedTuple):
    """One entry kernel: its symbol, the text of its argument kinds (see `arguments`), and its object file.

    In place of the object file stand the fields of a `placed_code.PlacedCode` where LLVM need not load it.
    """

    symbol: str
    kinds: str
    code: bytes | tuple


class ModuleCode(NamedTuple):
    """Object code of a module: `ObjectCode` by the name of the entry, and symbols that stand-ins may define."""

    entries: dict
    stand_ins: list


def encode(owner: str, module: ModuleCode) -> bytes:
    """Lay out the bytes of the file; `owner` says whose code it is (key and fingerprint)."""
    listed = {name: (entry.symbol, entry.kinds, entry.code) for name, entry in module.entries.items()}
    return seal(_FORMAT, (owner, listed, module.stand_ins))


def decode(owner: str, data: bytes) -> ModuleCode:
    """Read what `encode` laid out.

    Raises
    ------
    DamagedFile
        The bytes are not those that were written, or were written for another owner.
    """
    found, listed, stand_ins = unseal(_FORMAT, data, "a file of object code")
    if found != owner:
        raise DamagedFile(f"belongs to {found}")
    return ModuleCode({name: ObjectCode(*entry) for name, entry in listed.items()}, stand_ins)


def read(directory: str | os.PathLike, owner: str) -> ModuleCode | None:
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
        with open(os.path.join(directory, NAME), "rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise DamagedFile("is too large")
            return decode(owner, file.readall())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DamagedFile(f"cannot be read: {error.strerror}") from None


def publish(temporary: str | os.PathLike, final: str | os.PathLike) -> None:
    """Give a written file its final name, for good once this returns; whatever bears it goes."""
    try:
        os.replace(temporary, final)
    except IsADirectoryError:
        import shutil

        shutil.rmtree(final)
        os.replace(temporary, final)
    directory = os.open(os.path.dirname(final), os.O_RDONLY)
    try:
        os.fsync(directory)
    except OSError:  # a file system that does not sync directories
        pass
    finally:
        os.close(directory)
