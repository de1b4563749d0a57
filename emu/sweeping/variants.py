"""Documents with some keys replaced: board files, DRAM descriptions, settings (spec §4.1, §5.3, §6.1)."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping
from typing import Any

import tomlkit

from ..config.settings import LATENCY_KEYS
from ..errors import UsageError
from ..inputs.words import one_of, shown
from .values import Value

# Keys of the settings that follow from the geometry a program was compiled for, or are part of it.
GEOMETRY = {"MLEN", "VLEN", "BLEN", "HLEN", "BROADCAST_AMOUNT"}
FOLLOWS = {"HBM_M_Prefetch_Amount", "HBM_V_Prefetch_Amount", "HBM_V_Writeback_Amount", "HBM_WIDTH"}
FREE = ("MATRIX_SRAM_SIZE", "VECTOR_SRAM_SIZE", "MAX_LOOP_INSTRUCTIONS", "DC_EN", "CLOCK_PERIOD_PS",
        "HBM_CHANNELS")
LATENCIES = tuple(LATENCY_KEYS.values())


def with_keys(data: object, changes: Mapping[str, Value], where: str) -> Any:
    """Replace values at dotted keys of a document; a number steps into a list.

    Parameters
    ----------
    data
        Plain values; they stay as they are.
    changes : mapping of str to value
        By dotted key without the document's name; None leaves a key alone.
    where : str
        Name of the document, for messages.

    Raises
    ------
    UsageError
        A table or a list on the way is not there. Whether a key exists, its schema says.
    """
    made = copy.deepcopy(data)
    for key, value in changes.items():
        if value is None:
            continue
        *above, last = key.split(".")
        table = made
        for depth, name in enumerate(above):
            table = _inside(table, name, f"{where}.{'.'.join(above[:depth])}".rstrip("."))
        if isinstance(table, list):
            _inside(table, last, where)
            table[int(last)] = value
        elif isinstance(table, dict):
            table[last] = value
        else:
            raise UsageError(f"{where}.{key}: found {shown(table)} on the way, expected a table")
    return made


def _inside(table, name, where):
    if isinstance(table, dict) and name in table:
        return table[name]
    if isinstance(table, list) and name.isdecimal() and int(name) < len(table):
        return table[int(name)]
    known = list(table) if isinstance(table, dict) else [f"0 to {len(table) - 1}"] if isinstance(table, list) else []
    raise UsageError(f"{where}.{name}: found an unknown key, expected {one_of(known) if known else 'none below this'}")


def check_settings_key(key: str, with_model: bool, with_board: bool) -> None:
    """Refuse a key of the settings that would change nothing, or what the program was compiled for.

    Raises
    ------
    UsageError
    """
    name = f"settings.{key}"
    if key == "HBM_SIZE":
        raise UsageError(f"{name}: hbm_size.txt of a build beats it; see the key hbm_size")
    if key in FOLLOWS:
        raise UsageError(f"{name}: follows from the geometry (preset, settings.MLEN, settings.BLEN)")
    if key in GEOMETRY:
        if not with_model:
            raise UsageError(f"{name}: a compiled program keeps its geometry; name a model in place of a build")
        return
    if key in LATENCIES or key == "DC_EN":
        if with_board:
            raise UsageError(f"{name}: the board's latencies replace those of the settings, so that this changes"
                             " nothing; see board.latency")
        return
    if key not in FREE:
        raise UsageError(f"{name}: found an unknown key, expected {one_of([*sorted(GEOMETRY), *FREE, *LATENCIES])}")


def settings_with(text: str, changes: Mapping[str, Value]) -> str:
    """Write the text of a settings file with other values; a latency counts with and without DC_EN.

    Parameters
    ----------
    changes : mapping of str to value
        By key of TRANSACTIONAL.CONFIG or TRANSACTIONAL.LATENCY; geometry stays out.

    Returns
    -------
    str
        TOML.
    """
    document = tomllib.loads(text)
    table = document["TRANSACTIONAL"]
    for key, value in changes.items():
        if key in LATENCIES:
            table["LATENCY"][key] = {"dc_lib_en": value, "dc_lib_dis": value}
        else:
            table["CONFIG"][key] = {"value": value}
    return tomlkit.dumps(document)


def preset_with(preset: str, geometry: Mapping[str, Value]) -> str:
    """Name the preset of a geometry that differs in some keys of the settings (`settings.MLEN` and the like).

    Returns
    -------
    str
        Such as `m128b32h64x2`, as the compiler takes it.

    Raises
    ------
    UsageError
        No machine has the geometry, or VLEN is not MLEN.
    """
    from ..models.presets import find_preset

    base = find_preset(preset).geometry | {key: value for key, value in geometry.items() if value is not None}
    if "VLEN" not in geometry:
        base["VLEN"] = base["MLEN"]
    if base["VLEN"] != base["MLEN"]:
        raise UsageError(f"settings.VLEN: found {base['VLEN']}, expected MLEN {base['MLEN']}: compiled programs have"
                         " rows of one length")
    name = f"m{base['MLEN']}b{base['BLEN']}h{base['HLEN']}x{base['BROADCAST_AMOUNT']}"
    find_preset(name)
    return name
