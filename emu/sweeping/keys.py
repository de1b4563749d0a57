"""What a sweep can vary: every key of a point, how its values are written, and which part of a point it belongs to."""

from __future__ import annotations

import difflib
import re
from typing import NamedTuple

from ..errors import UsageError
from ..inputs.words import cut, one_of
from ..request import MEMORY_MODELS
from . import values
from .values import Kind, Value

BUILD, MODEL, BOARD, PROFILE, DRAM = "build", "model", "board", "latency_profile", "dram"


class Key(NamedTuple):
    """A key of a point.

    Attributes
    ----------
    kind : Kind
    scope : str
        `program` (which one), `compile` (an option of the compiler), `run` (a field of `RunRequest`), or the document
        that a dotted key is of: `board`, `dram`, `settings`.
    choices : tuple of str
        All values there are; empty where any is allowed.
    text : str
        For people.
    """

    kind: Kind
    scope: str
    text: str
    choices: tuple[str, ...] = ()


KEYS = {
    BUILD: Key(values.NAME, "program", "build directory"),
    MODEL: Key(values.NAME, "program", "model: bundled name, directory or config.json; compiled from its shapes alone"),
    "preset": Key(values.NAME, "compile", "geometry of the machine: m64b16, or any m<MLEN>b<BLEN>h<HLEN>x<BROADCAST>"),
    "prefill": Key(values.COUNT, "compile", "tokens of the prompt"),
    "past": Key(values.COUNT, "compile", "a decode step after so many tokens"),
    "batch": Key(values.COUNT, "compile", "sequences"),
    "layers": Key(values.COUNT, "compile", "the first layers of the model"),
    "logits": Key(values.NAME, "compile", "which tokens get logits", ("last", "all", "none")),
    "part": Key(values.NAME, "compile", "part of the model", ("text", "vision")),
    "image": Key(values.COUNT, "compile", "edge of the image in pixels"),
    "vector_sram_rows": Key(values.COUNT, "compile", "rows of the vector SRAM"),
    BOARD: Key(values.NAME, "run", "board name or file"),
    PROFILE: Key(values.NAME, "run", "latency profile laid over the board"),
    DRAM: Key(values.NAME, "run", "DRAM name or file"),
    "memory_model": Key(values.NAME, "run", "memory model", MEMORY_MODELS),
    "ddr_capacity": Key(values.SIZE, "run", "bytes of DDR"),
    "host_bandwidth": Key(values.RATE, "run", "bytes a second of the host link"),
    "clock_mhz": Key(values.NUMBER, "run", "core clock in MHz"),
    "ddr_speed": Key(values.NUMBER, "run", "factor on the data rate of the board's memory"),
    "reference_timing": Key(values.FLAG, "run", "cycles of 1000 ps and the idealised DDR"),
    "isa": Key(values.NAME, "run", "ISA revision", ("base", "moe")),
    "timing": Key(values.NAME, "run", "serial, or a timing file"),
    "dma": Key(values.NAME, "run", "DMA", ("reference", "production")),
    "hbm_channels": Key(values.COUNT, "run", "channels of hbm2 with production DMA"),
    "hbm_size": Key(values.SIZE, "run", "bytes of the HBM"),
}
_FLAG = re.compile(r"--([a-z][a-z-]*)")
DOCUMENTS = ("board", "dram", "settings")  # whose keys are written with a dot


def key_of(name: str) -> Key:
    """Look up a key, or make that of `board.latency.vector_add` and the like.

    Returns
    -------
    Key

    Raises
    ------
    UsageError
        There is none of this name.
    """
    if name in KEYS:
        return KEYS[name]
    document, dot, rest = name.partition(".")
    if dot and document in DOCUMENTS and rest and all(rest.split(".")):
        return Key(values.SCALAR, document, f"a key of the {document}'s file")
    close = difflib.get_close_matches(name.lower().replace("-", "_"), KEYS, 1, 0.6)
    expected = f"{close[0]} perhaps" if close else f"{one_of(KEYS)}, or a key such as board.latency.vector_add"
    raise UsageError(f"{cut(name)!r}: found an unknown key, expected {expected}")


def in_keys(message: str) -> str:
    """Name keys in a message of the compiler, which names its flags: `layers` for `--layers`.

    Returns
    -------
    str
    """
    return _FLAG.sub(lambda found: key if (key := found[1].replace("-", "_")) in KEYS else found[0], message)


def read_axis(name: str, written: object) -> list[Value]:
    """Read the values of the axis of a key; raises `UsageError`.

    Returns
    -------
    list
    """
    key = key_of(name)
    found = values.read_values(written, key.kind, name)
    for value in found:
        if key.choices and value is not None and value not in key.choices:
            raise UsageError(f"{name}: found {cut(str(value))!r}, expected one of {', '.join(key.choices)}")
    return found
