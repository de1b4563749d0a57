"""Writes boards/parsed.txt: what the YAML files that ship say, so that a run need not parse them.

    python tools/parse_descriptions.py    # after a change of a file below boards/
"""

import json
from pathlib import Path

from plena_emu.boards.parsed import PARSED, key_of
from plena_emu.inputs.documents import parse_yaml

ROOT = Path(__file__).resolve().parents[1]


def contents() -> str:
    """Make the text of the file: the checksum of the text and the values, in the order of the files' names.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        A file holds what JSON cannot say.
    """
    lines = []
    for path in sorted((ROOT / "boards").rglob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        values = parse_yaml(text, str(path))
        line = json.dumps(values, allow_nan=False, separators=(",", ":"))
        if json.loads(line) != values:
            raise ValueError(f"{path}: found a value that JSON cannot hold")
        lines.append(f"{key_of(text)} {line}\n")
    return "".join(lines)


if __name__ == "__main__":
    PARSED.write_text(contents(), encoding="utf-8")
