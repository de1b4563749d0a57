"""The YAML files that ship, parsed beforehand: PyYAML and its work take a tenth of a short run.

Each line of `parsed.txt` is a checksum of a file's text and its values as JSON; a changed file is parsed as any other.
`tools/parse_descriptions.py` writes it.
"""

import contextlib
import functools
import pathlib
import zlib

import msgspec

PARSED = pathlib.Path(__file__).resolve().parent / "parsed.txt"


def key_of(text: str) -> str:
    """Compute the name under which the values of a text are kept.

    Returns
    -------
    str
        Length in bytes and CRC-32: no text that differs within 4 bytes has the same, and no other is likely to.
    """
    data = text.encode()
    return f"{len(data)}-{zlib.crc32(data):08x}"


def known_values(text: str) -> object:
    """Give the values of a YAML text that ships.

    Returns
    -------
    object
        What `plena_emu.inputs.documents.parse_yaml` makes of the text; None where the text is another.
    """
    kept = _kept().get(key_of(text))
    return None if kept is None else msgspec.json.decode(kept)


@functools.cache
def _kept():
    """Values as JSON, by key, a line each; nothing where the file lacks: then everything is parsed."""
    lines = []
    with contextlib.suppress(OSError):
        lines = PARSED.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)
