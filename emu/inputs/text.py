"""Reads text inputs: one wording for what is wrong with a file, and a largest size for each kind of it."""

import codecs
import os

from ..errors import EmuError
from .opening import open_input

MIB = 2**20
# Most bytes of each kind of text input: far above what anybody writes, far below what fills a machine's memory. An
# input that never ends, such as a device or a pipe that nobody closes, stops there.
LARGEST = {
    "settings": 16 * MIB,
    "board": 16 * MIB,
    "latency profile": 16 * MIB,
    "DRAM description": 16 * MIB,
    "timing": 16 * MIB,
    "study": 16 * MIB,
    "HBM size": 1024,
    "weight manifest": 256 * MIB,
    "build table": 256 * MIB,
    "model config": 16 * MIB,
    "weight index": 256 * MIB,
    "results": 256 * MIB,
    "benchmark": 256 * MIB,
    "stages": 256 * MIB,
    "run record": 256 * MIB,
    "assembly": 512 * MIB,
    "trace": 1024 * MIB,
}
_PART = MIB  # bytes read at a time
_PIECE = 1 << 16  # bytes decoded at a time to see whether they are text
_MARK = b"\xef\xbb\xbf"  # byte order mark of UTF-8, which some editors write
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16


def read_text(path: str | os.PathLike, kind: str, origin: str | None = None) -> str:
    """Read a text file whole; line ends stay as they are, a byte order mark does not.

    Parameters
    ----------
    kind : str
        A key of `LARGEST`; messages begin with it.
    origin : str, optional
        What named the file, for the message that it cannot be read.

    Returns
    -------
    str

    Raises
    ------
    EmuError
        The file cannot be read, is larger than its kind may be, or is no UTF-8 text without NUL characters.
    """
    source = os.fsdecode(path)
    data = _read_bytes(source, kind, origin)
    return decode_text(data, f"{kind} {source}")


def read_utf8(path: str | os.PathLike, kind: str) -> bytes:
    """Read a text file as `read_text` does, but leave it in UTF-8: for large files of which little is looked at.

    Returns
    -------
    bytes

    Raises
    ------
    EmuError
        As `read_text`.
    """
    source = os.fsdecode(path)
    data = _read_bytes(source, kind, None)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _PIECE):
            decoder.decode(data[start : start + _PIECE])
        decoder.decode(b"", final=True)
        is_text = b"\0" not in data and not data.startswith(_WIDE_MARKS)
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        decode_text(data, f"{kind} {source}")  # says what is wrong
    return data.removeprefix(_MARK)


def decode_text(data: bytes, where: str) -> str:
    """Decode bytes as UTF-8 text; `where` names them in messages.

    Returns
    -------
    str

    Raises
    ------
    EmuError
        They are no UTF-8, or hold a NUL character.
    """
    if data.startswith(_WIDE_MARKS):
        raise EmuError(f"{where}: not UTF-8 text: found the byte order mark of UTF-16")
    try:
        text = data.removeprefix(_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        at = error.start + (len(_MARK) if data.startswith(_MARK) else 0)
        line = data.count(b"\n", 0, at) + 1
        raise EmuError(f"{where}, line {line}: not UTF-8 text: found byte 0x{data[at]:02x} at offset {at}") from None
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise EmuError(f"{where}, line {line}: found a NUL character, expected text")
    return text


def _read_bytes(source, kind, origin):
    """Read a file up to its first NUL, which no text holds, and to the largest size of its kind."""
    most = LARGEST[kind]
    parts, size = [], 0
    try:
        with open_input(source) as file:
            while part := file.read(_PART):
                parts.append(part)
                size += len(part)
                if size > most:
                    raise EmuError(f"{kind} {source}: found more than {most} bytes, expected at most that many")
                if b"\0" in part:
                    break
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        named = f" ({origin})" if origin else ""
        why = getattr(error, "strerror", None) or str(error)
        raise EmuError(f"{kind} {source}{named}: cannot read: {why}") from None
    return b"".join(parts)
