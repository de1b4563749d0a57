"""Applying a board to a settings file (spec §6.2): text in, text out, layout and comments kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable

from ..errors import EmuError, UsageError
from ..inputs.documents import parse_toml
from ..inputs.text import read_text
from ..inputs.words import shown
from .settings import LATENCY_KEYS, Settings, default_settings, parse_settings

if TYPE_CHECKING:
    from ..boards.schema import Board

# Geometry a caller may set (§6.2), and what follows from it unless it is set too.
GEOMETRY_KEYS = ("MLEN", "VLEN", "BLEN", "HLEN", "BROADCAST_AMOUNT")
_FOLLOWS = {"HBM_M_Prefetch_Amount": "MLEN", "HBM_V_Prefetch_Amount": "BLEN", "HBM_V_Writeback_Amount": "BLEN"}
_MAX_LENGTH = 0xFFFF
_TOML_BITS = 63  # of an integer, without its sign


class Change(NamedTuple):
    """One value that was written: dotted key, value before (None: it was not there), value after."""

    key: str
    before: int | None
    after: int


def latency_key(unit: str) -> str:
    """Translate a key of the board's `latency` section into one of the LATENCY table.

    Returns
    -------
    str
    """
    return unit.upper() if unit == "systolic_processing_overhead" else f"{unit.upper()}_CYCLES"


def apply_board(text: str, board: Board, geometry: dict[str, int] | None = None, source: str = "settings") -> str:
    """Apply the board to settings text (§6.2); `source` names the text in errors.

    DC_EN and the board's latencies are written into the TRANSACTIONAL and, where present, the ANALYTIC
    table. `geometry` maps keys of `GEOMETRY_KEYS` to lengths; its values, and the amounts and HBM_WIDTH
    that follow from them, are also written to BEHAVIOR.CONFIG. Everything else stays as it is.
    Raises `EmuError` when the text is no settings file or a length is impossible.

    Returns
    -------
    str
    """
    return apply_board_with_changes(text, board, geometry, source)[0]


def apply_board_with_changes(
    text: str, board: Board, geometry: dict[str, int] | None = None, source: str = "settings"
) -> tuple[str, list[Change]]:
    """Apply the board as `apply_board` does, and list what changed.

    Returns
    -------
    (str, list of Change)
        The text, and the values in the order they were written.
    """
    writer = _Writer(text, source)
    writer.require_table("TRANSACTIONAL")
    enabled = board.latency.dc_lib_en
    column = "dc_lib_en" if enabled else "dc_lib_dis"
    units = [name for name in board.latency.__struct_fields__ if name != "dc_lib_en"]
    for top, required in (("TRANSACTIONAL", True), ("ANALYTIC", False)):
        writer.set(f"{top}.CONFIG.DC_EN.value", int(enabled), required)
        for unit in units:
            key = f"{top}.LATENCY.{latency_key(unit)}.{column}"
            writer.set(key, getattr(board.latency, unit), required)
    for key, value in _all_geometry(geometry or {}, writer).items():
        writer.put(f"TRANSACTIONAL.CONFIG.{key}", value)
        writer.put(f"BEHAVIOR.CONFIG.{key}", value)
    return tomlkit.dumps(writer.document), writer.changes


def settings_for_board(settings: Settings, board: Board) -> tuple[Settings, list[Change]]:
    """Apply the board to settings whose file stays as it is (§6.2).

    Built-in defaults have no file: the board's latencies replace theirs, those it does not name stay. Overrides such
    as `--hbm-size` come after this.

    Returns
    -------
    (Settings, list of Change)
    """
    if settings.source == default_settings().source:
        return _defaults_for_board(settings, board)
    text, changes = apply_board_with_changes(read_text(settings.source, "settings"), board, None, settings.source)
    # The other tables of the file are not the emulator's (§5.3).
    return parse_settings(text, settings.source, settings.origin), [
        change for change in changes if change.key.startswith("TRANSACTIONAL.")]


def _defaults_for_board(settings, board):
    units = {latency_key(unit): getattr(board.latency, unit) for unit in board.latency.__struct_fields__}
    after = {"dc_en": int(board.latency.dc_lib_en)} | {
        name: units[key] for name, key in LATENCY_KEYS.items() if key in units}
    before = {"dc_en": settings.dc_en} | settings.latency.by_name()
    changes = [Change(name, before[name], value) for name, value in after.items() if before[name] != value]
    latency = msgspec.structs.replace(settings.latency, **{k: v for k, v in after.items() if k != "dc_en"})
    return msgspec.structs.replace(settings, dc_en=after["dc_en"], latency=latency), changes


def _all_geometry(geometry, writer):
    """Collect the keys that were asked for, and those that follow from MLEN and BLEN."""
    for key, value in geometry.items():
        if key not in GEOMETRY_KEYS:
            raise UsageError(f"geometry {key}: unknown key, expected one of {', '.join(GEOMETRY_KEYS)}")
        if type(value) is not int or not 1 <= value <= _MAX_LENGTH:
            raise UsageError(f"geometry {key}: found {shown(value)}, expected an integer from 1 to {_MAX_LENGTH}")
    found = dict(geometry)
    for amount, length in _FOLLOWS.items():
        if length in geometry:
            found[amount] = geometry[length]
    if "MLEN" in geometry:
        stood = writer.get("TRANSACTIONAL.CONFIG.HBM_WIDTH.value")
        found["HBM_WIDTH"] = max(8 * geometry["MLEN"], stood or 0)
    return found


class _Writer:
    """A parsed settings file that knows its name and what was changed in it."""

    def __init__(self, text, source):
        self.source = source
        self.changes = []
        parse_toml(text, f"settings {source}")  # what the emulator reads; tomlkit takes more, and says less
        try:
            self.document = tomlkit.parse(text)
        except (TOMLKitError, ValueError, RecursionError) as error:
            raise EmuError(f"settings {source}: not valid TOML: {' '.join(str(error).split())}") from None

    def fail(self, key, found, expected):
        raise EmuError(f"settings {self.source}: {key}: found {found}, expected {expected}")

    def require_table(self, key):
        if self.get_table(key) is None:
            self.fail(key, "nothing", "a table")

    def get_table(self, key):
        """Look up the table at a dotted key, None where it or a table above it is missing."""
        table = self.document
        names = key.split(".")
        for depth, name in enumerate(names):
            if name not in table:
                return None
            table = table[name]
            if not isinstance(table, dict):
                self.fail(".".join(names[: depth + 1]), shown(tomlkit.item(table).unwrap()), "a table")
        return table

    def get(self, key):
        """Look up the integer at a dotted key; None where it is missing."""
        above, _, name = key.rpartition(".")
        table = self.get_table(above)
        if table is None or name not in table:
            return None
        value = tomlkit.item(table[name]).unwrap()
        if type(value) is not int:
            self.fail(key, shown(value), "an integer")
        if value.bit_length() > _TOML_BITS:
            self.fail(key, shown(value), "an integer of 64 bits with a sign, as TOML has it")
        return value

    def set(self, key, value, required):
        """Replace the integer at a dotted key; a missing one is an error, or left out if not `required`."""
        before = self.get(key)
        if before is None:
            if required:
                self.fail(key, "nothing", "an integer")
            return
        if before != value:
            above, _, name = key.rpartition(".")
            self.get_table(above)[name] = value
            self.changes.append(Change(key, before, value))

    def put(self, key, value):
        """Set `key.value`, making the table and those above it where they are missing."""
        before = self.get(f"{key}.value")
        if before is None:
            self._make_table(key)["value"] = value
            self.changes.append(Change(f"{key}.value", None, value))
        else:
            self.set(f"{key}.value", value, True)

    def _make_table(self, key):
        """Find the table at a dotted key, or make it in the style of the table above it."""
        table = self.get_table(key)
        if table is not None:
            return table
        above, _, name = key.rpartition(".")
        parent = self._make_table(above) if above else self.document
        if isinstance(parent, InlineTable):
            parent[name] = tomlkit.inline_table()
        else:
            parent[name] = tomlkit.table(is_super_table=name in ("BEHAVIOR", "CONFIG"))
        return parent[name]
