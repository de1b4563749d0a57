"""Reading records of runs back, and refusing those whose figures cannot be a run's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import EmuError
from ..inputs.documents import parse_json
from ..inputs.schema import convert
from ..inputs.text import read_text
from ..inputs.words import cut, shown
from . import FIELDS, FORMATS, Figures, Row, RunResult, StageTable

LARGEST = 1 << 100  # of any integer: bytes that are swapped may pass 64 bits
_TABLES = ("stages", "regions", "opcodes", "loops")  # of a StageTable
_NOT_NEGATIVE = ("latency_ps", "end_ps", "compute_ps", "memory_ps", "housekeeping_ps", "link_busy_ps", "instructions",
                 "bytes_read", "bytes_written", "cycles")
_OF_TRANSFERS = ("memory_ps", "bytes_read", "bytes_written")  # what rows of regions sum to
_SUMMED = ("instructions", "compute_ps", *_OF_TRANSFERS)  # what rows of stages and opcodes sum to


def read_run(path: str) -> RunResult:
    """Read a record that `plena-emu run --json` wrote.

    Returns
    -------
    RunResult

    Raises
    ------
    EmuError
        It cannot be read, is no such record, or its figures contradict each other.
    """
    where = f"run record {path}"
    data = parse_json(read_text(path, "run record"), where)
    expected = f"plena-emu run {FORMATS['run']}"
    found = data.get("format") if isinstance(data, dict) else None
    if found != expected:
        told = "nothing" if found is None else shown(found)
        raise EmuError(f"{where}: format: found {told}, expected {expected!r}, as plena-emu run --json writes it")
    for place, number in _integers(data, ""):
        if abs(number) > LARGEST:
            raise EmuError(f"{where}: {place}: found {cut(str(number))}, expected an integer below 2^100")
    result = convert(data, RunResult, where)
    _check_times(result, where)
    if result.stages is not None:
        assert isinstance(data, dict)  # it has a format
        for name in _TABLES:
            _check_rows(getattr(result.stages, name), data["stages"].get(name), f"{where}: stages.{name}")
        _check_sums(result, result.stages, where)
    return result


def _integers(data: Any, place: str) -> Iterator[tuple[str, int]]:
    """Yield every integer of plain values, with its dotted path."""
    left = [(data, place)]
    while left:
        value, at = left.pop()
        if isinstance(value, dict):
            left += [(inner, f"{at}.{key}" if at else key) for key, inner in value.items()]
        elif isinstance(value, list):
            left += [(inner, f"{at}[{number}]") for number, inner in enumerate(value)]
        elif isinstance(value, int) and not isinstance(value, bool):
            yield at, value


def _check_times(result: RunResult, where: str) -> None:
    """Refuse a record whose times are negative, or do not sum to its latency (see `RunResult`)."""
    for name in _NOT_NEGATIVE:
        if getattr(result, name) < 0:
            raise EmuError(f"{where}: {name}: found {getattr(result, name)}, expected 0 or more")
    _same(where, "end_ps", result.end_ps, result.compute_ps + result.memory_ps, "compute_ps + memory_ps")
    parts = result.end_ps + result.housekeeping_ps + result.timeline_ps
    _same(where, "latency_ps", result.latency_ps, parts, "end_ps + housekeeping_ps + timeline_ps")
    if result.board_time_ps is not None:
        _same(where, "board_time_ps", result.board_time_ps, result.latency_ps, "latency_ps")


def _check_rows(rows: list[Row] | None, raw: list[dict] | None, where: str) -> None:
    """Refuse rows with another key than their table's, with a figure that is missing, or a negative one."""
    for at, row in enumerate(rows or ()):
        wanted = "a layer and an operator" if where.endswith(".stages") else "one name"
        if not _is_key(row.key, where.endswith(".stages")):
            raise EmuError(f"{where}[{at}].key: found {shown(list(row.key))}, expected {wanted}")
        for name in FIELDS:
            value = getattr(row.figures, name)
            if raw is not None and name not in raw[at]["figures"]:
                raise EmuError(f"{where}[{at}].figures.{name}: found nothing, expected an integer")
            if value is not None and value < 0:
                raise EmuError(f"{where}[{at}].figures.{name}: found {value}, expected 0 or more")


def _is_key(key: tuple, of_stage: bool) -> bool:
    if not of_stage:
        return len(key) == 1 and isinstance(key[0], str)
    return len(key) == 2 and (key[0] is None or isinstance(key[0], int) and key[0] >= 0) and isinstance(key[1], str)


def _check_sums(result: RunResult, table: StageTable, where: str) -> None:
    """Refuse tables whose rows do not add up to the run."""
    for name, figures in (("stages", _SUMMED), ("opcodes", _SUMMED), ("regions", _OF_TRANSFERS)):
        total = Figures()
        for row in getattr(table, name):
            total.add(row.figures)
        for figure in figures:
            _same(where, f"stages.{name}: the sum of {figure}", getattr(total, figure), getattr(result, figure),
                  f"the run's {figure}")


def _same(where: str, name: str, found: int, expected: int, what: str) -> None:
    if found != expected:
        raise EmuError(f"{where}: {name}: found {found}, expected {expected}, {what}")
