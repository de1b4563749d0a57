"""Geometry presets and the settings file that a build gets (spec §9.8)."""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import TYPE_CHECKING

import msgspec
import tomlkit

from plena_emu.errors import UsageError

if TYPE_CHECKING:
    from plena_emu.boards.schema import Board

TEMPLATE = "plena_settings.toml"
_ANY_SIZE = 7_919_104_729_001_337  # no other value of a settings file
DEFAULT_PRESET = "m64b16"


class Preset(msgspec.Struct, frozen=True):
    """Lengths in elements: MLEN = VLEN, BLEN, HLEN; and BROADCAST_AMOUNT, the heads of a broadcast product."""

    name: str
    mlen: int
    blen: int
    hlen: int
    broadcast: int

    @property
    def geometry(self) -> dict[str, int]:
        """Keys of the settings' CONFIG table with their values."""
        return {"MLEN": self.mlen, "VLEN": self.mlen, "BLEN": self.blen, "HLEN": self.hlen,
                "BROADCAST_AMOUNT": self.broadcast}

    def for_head_dim(self, head_dim: int) -> Preset:
        """Choose HLEN and BROADCAST_AMOUNT for heads of `head_dim` elements (§9.8).

        Returns
        -------
        Preset
            m256b64 has 128 × 2 for heads of 128 elements; every other preset stays as it is.
        """
        if self.name == "m256b64" and head_dim == 128:
            return msgspec.structs.replace(self, hlen=128, broadcast=2)
        return self


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("m16b4", 16, 4, 16, 1),
        Preset("m16b8", 16, 8, 16, 1),
        Preset("m32b8", 32, 8, 32, 1),
        Preset("m64b4", 64, 4, 64, 1),
        Preset("m64b16", 64, 16, 64, 1),
        Preset("m128b64", 128, 64, 128, 1),
        Preset("m256b64", 256, 64, 64, 4),
    )
}


_GEOMETRY = re.compile(r"m([0-9]{1,4})b([0-9]{1,4})(?:h([0-9]{1,4})(?:x([0-9]{1,4}))?)?")


def find_preset(name: str) -> Preset:
    """Find a preset by name, or make that of a geometry.

    Parameters
    ----------
    name : str
        A name of `PRESETS`, else `m<MLEN>b<BLEN>` with `h<HLEN>` and `x<BROADCAST>` behind it where they are not MLEN
        and 1, such as `m128b32` or `m256b64h128x2`.

    Returns
    -------
    Preset

    Raises
    ------
    UsageError
        There is none of this name, or no machine has the geometry.
    """
    if name in PRESETS:
        return PRESETS[name]
    match = _GEOMETRY.fullmatch(name)
    mlen, blen, hlen, broadcast = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    hlen, broadcast = hlen or mlen, broadcast or 1
    if mlen < 16 or mlen % 8 or blen < 4 or mlen % blen or mlen % hlen or hlen * broadcast > mlen:
        raise UsageError(f"preset {name}: expected one of {', '.join(PRESETS)}, or m<MLEN>b<BLEN>h<HLEN>x<BROADCAST>"
                         " with an MLEN of at least 16 that 8, BLEN (at least 4) and HLEN divide, and HLEN x BROADCAST"
                         " at most MLEN")
    return Preset(name, mlen, blen, hlen, broadcast)


def settings_text(
    preset: Preset, hbm_size: int, board: Board | None = None, vector_sram_rows: int | None = None
) -> str:
    """Write the settings of a build: the shipped file with the preset's geometry and what follows from it (§9.8).

    Parameters
    ----------
    preset : Preset
    hbm_size : int
        Bytes.
    board : Board or None
        Adds the board's latencies and DC_EN (§6.2).
    vector_sram_rows : int or None
        VECTOR_SRAM_SIZE; None keeps the stock 4,194,304 rows.

    Returns
    -------
    str
        TOML; the geometry also stands in BEHAVIOR.CONFIG.
    """
    from plena_emu.config.apply_board import apply_board

    made = _stock_settings(preset, vector_sram_rows).replace(str(_ANY_SIZE), str(hbm_size))
    return made if board is None else apply_board(made, board, None, TEMPLATE)


@functools.lru_cache(maxsize=64)
def _stock_settings(preset, vector_sram_rows):
    """Write the settings without a board; `_ANY_SIZE` stands where HBM_SIZE will."""
    text = resources.files(__package__).joinpath(TEMPLATE).read_text()
    follows = {"HBM_M_Prefetch_Amount": preset.mlen, "HBM_V_Prefetch_Amount": preset.blen,
               "HBM_V_Writeback_Amount": preset.blen, "HBM_WIDTH": max(8 * preset.mlen, 512)}
    document = tomlkit.parse(text)
    values = preset.geometry | follows | {"HBM_SIZE": _ANY_SIZE}
    if vector_sram_rows is not None:
        values["VECTOR_SRAM_SIZE"] = vector_sram_rows
    transactional = document["TRANSACTIONAL"]["CONFIG"]
    behavior = document["BEHAVIOR"]["CONFIG"]
    for key, value in values.items():
        transactional[key]["value"] = value
        if key in preset.geometry or key in follows:
            behavior[key]["value"] = value
    return tomlkit.dumps(document)
