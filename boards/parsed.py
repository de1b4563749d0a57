"""The YAML files that ship, parsed beforehand: PyYAML and its work take a tenth of a short run.

Each line of `parsed.txt` is the SHA-256 of a file's text and its values as JSON; a changed file is parsed as any other.
`tools/parse_descriptions.py` writes it.
"""

import contextlib
import functools
import hashlib
import json
import pathlib

PARSED = pathlib.Path(__file__).resolve().parent / "parsed.txt"


def key_of(text: str) -> str:
    """Compute the name under which the values of a text are kept.

    Returns
    -------
    str
        Hexadecimal digits of a SHA-256.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def known_values(text: str) -> object:
    """Give the values of a YAML text that ships.

    Returns
    -------
    object
        What `plena_emu.inputs.documents.parse_yaml` makes of the text; None where the text is another.
    """
    kept = _kept().get(key_of(text))
    return None if kept is None else json.loads(kept)


@functools.cache
def _kept():
    """Values as JSON, by key, a line each; nothing where the file lacks: then everything is parsed."""
    lines = []
    with contextlib.suppress(OSError):
        lines = PARSED.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)
