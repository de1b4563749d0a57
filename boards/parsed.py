"""The YAML files that ship, parsed beforehand: PyYAML and its work take a tenth of a short run.

`parsed.json` holds the values of each file under the SHA-256 of its text, so a changed file is simply parsed again.
`tools/parse_descriptions.py` writes it.
"""

import contextlib
import functools
import hashlib
import pathlib

import msgspec

PARSED = pathlib.Path(__file__).resolve().parent / "parsed.json"


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
    return None if kept is None else msgspec.json.decode(kept)


@functools.cache
def _kept():
    """Values as JSON, by key; nothing where the file lacks or is no JSON: then everything is parsed."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(PARSED.read_bytes(), type=dict[str, msgspec.Raw])
    return {}
