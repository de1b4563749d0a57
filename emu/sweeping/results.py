"""What a sweep found: a row a point, with the values of its keys and the figures of its run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import UsageError
from ..inputs.words import cut, one_of, shown
from .keys import MODEL
from .points import Point, program_name
from .records import Record
from .store import Store
from .values import Value
from .worker import PROGRAM_NAME

if TYPE_CHECKING:
    import pandas

# Figures of the record of a run that are columns as they are.
_PLAIN = ("latency_ps", "end_ps", "compute_ps", "memory_ps", "housekeeping_ps", "timeline_ps", "link_busy_ps", "cycles",
          "board_time_ms", "time_basis", "instructions", "bytes_read", "bytes_written", "utilization_bytes_per_s",
          "regime")
MANIFEST = "weight_manifest.json"
TEXT = {"id", "error", "time_basis", "regime", "memory_model", "part", "tile_hint"}
STATISTICS = ("resident_bytes", "kv_swapped_bytes", "kv_swaps", "weight_streamed_bytes")
FIGURES = ("time_ms", *_PLAIN, "memory_model", "ddr_capacity_bytes", "host_bandwidth_bytes_per_s", "part", "tile_hint",
           "footprint_bytes", "weight_bytes", "kv_bytes", "activation_bytes", "mlen", "vlen", "blen", "hlen",
           "streamed_bytes", *STATISTICS, "row_hits", "row_misses", "row_conflicts")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A point and what became of it.

    Attributes
    ----------
    id : str
    values : dict
        Of the axes, by key.
    figures : dict
        By the names of `FIGURES`; empty for a failure.
    failure : str or None
        Why there are none.
    warnings : list of str
        Of the run.
    """

    id: str
    values: dict[str, Any]
    figures: dict[str, Any] = {}
    failure: str | None = None
    warnings: list[str] = []

    def get(self, column: str) -> Any:
        """Look up a column: `id`, `error`, a key or a figure; None where the row has none."""
        if column in ("id", "error"):
            return self.id if column == "id" else self.failure
        return self.values[column] if column in self.values else self.figures.get(column)


def figures_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Take the columns out of the record of a run.

    Returns
    -------
    dict
        Every name of `FIGURES`; None where the run has no such figure.
    """
    found = {name: run[name] for name in _PLAIN}
    found["time_ms"] = run["latency_ps"] / 1e9
    found["memory_model"] = run["model"]
    limits, board, statistics = (run[name] or {} for name in ("limits", "board", "model_statistics"))
    found["ddr_capacity_bytes"] = limits.get("ddr_capacity_bytes")
    found["host_bandwidth_bytes_per_s"] = limits.get("host_bandwidth_bytes_per_s")
    part = board.get("part")
    found["part"] = part["name"] if part else None
    hints = [hint["status"] for hint in board.get("tile_hints", [])]
    found["tile_hint"] = hints[0] if hints else None
    sizes = run["footprint"]
    found |= {"footprint_bytes": sum(sizes.values()) or None} | {
        f"{kind}_bytes": size if any(sizes.values()) else None for kind, size in sizes.items()}
    found |= {name: run["geometry"][name] for name in ("mlen", "vlen", "blen", "hlen")}
    found |= {name: statistics.get(name) for name in STATISTICS}
    found["streamed_bytes"] = statistics.get("weight_streamed_bytes", statistics.get("weight_bytes"))
    found |= _row_counts(run["dram_statistics"] or {})
    return {name: found[name] for name in FIGURES}


def _row_counts(statistics):
    """Row hits, misses and conflicts of a DRAM; None without one."""
    return {f"row_{what}": statistics.get(f"row_{what}") for what in ("hits", "misses", "conflicts")}


def row_of(point: Point, record: Record | None) -> Row:
    """Make the row of a point; without a record it has not run."""
    if record is None:
        return Row(id=point.id, values=point.values, failure="not run")
    name = program_name(point.values)
    if record.failure is not None or record.result is None:
        message = record.failure.message if record.failure else "no result"
        return Row(id=point.id, values=point.values, failure=message.replace(PROGRAM_NAME, name))
    warnings = [line.replace(PROGRAM_NAME, name) for line in record.result["warnings"]]
    if MODEL in point.values:  # whose build the sweep made, without a manifest
        warnings = [line for line in warnings if not line.startswith(MANIFEST)]
    return Row(id=point.id, values=point.values, figures=figures_of(record.result), warnings=warnings)


class SweepResult:
    """Rows of a sweep in the order of its points.

    Attributes
    ----------
    rows : list of Row
    keys : list of str
        Keys of the axes, in the order of the study.
    varying : list of str
        Those with more than one value.
    """

    def __init__(self, rows: Sequence[Row], keys: Sequence[str], varying: Sequence[str]):
        self.rows = list(rows)
        self.keys = list(keys)
        self.varying = list(varying)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"<SweepResult {len(self.rows):,} points over {', '.join(self.varying) or 'nothing'}, " \
               f"{len(self.failures)} failed>"

    @property
    def failures(self) -> list[Row]:
        """Rows without figures."""
        return [row for row in self.rows if row.failure is not None]

    @property
    def columns(self) -> list[str]:
        """Every column: id, keys, figures that some row has, error."""
        used = [name for name in FIGURES if any(row.figures.get(name) is not None for row in self.rows)]
        return ["id", *self.keys, *(name for name in used if name not in self.keys), "error"]

    def check_columns(self, names: Iterable[str], numbers: bool = False) -> None:
        """Refuse columns that no row could have; `numbers` refuses those that hold text as well, run or not.

        Raises
        ------
        UsageError
        """
        known = ["id", *self.keys, *FIGURES, "error"]
        for name in names:
            if name not in known:
                raise UsageError(f"column {cut(str(name))!r}: found no such column, expected {one_of(known)}")
            if numbers and (name in TEXT or any(isinstance(row.get(name), str | bool) for row in self.rows)):
                raise UsageError(f"column {name}: holds text, expected one of numbers")

    def records(self) -> list[dict[str, Any]]:
        """Make a dict of each row, with every column.

        Returns
        -------
        list of dict
        """
        columns = self.columns
        return [{name: row.get(name) for name in columns} for row in self.rows]

    def to_pandas(self) -> pandas.DataFrame:
        """Build a data frame with a column each; needs pandas.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas

        return pandas.DataFrame(self.records(), columns=self.columns)

    def best(self, column: str = "time_ms", count: int = 10, largest: bool = False) -> SweepResult:
        """Choose the rows with the smallest figures of a column, or the largest.

        Returns
        -------
        SweepResult
            Sorted; equal rows keep their order.

        Raises
        ------
        UsageError
            There is no such column of numbers.
        """
        self.check_columns([column], numbers=True)
        if type(count) is not int or count < 1:
            raise UsageError(f"count: found {shown(count)}, expected an integer of at least 1")
        found = [row for row in self.rows if row.get(column) is not None and row.failure is None]
        found.sort(key=lambda row: row.get(column), reverse=largest)
        return self._with(found[:count])

    def pareto(self, *columns: str) -> SweepResult:
        """Choose the rows that no other row beats: not worse in any column, better in one.

        Parameters
        ----------
        columns : str
            Smaller is better; with `-` in front (`-bytes_read`) larger is.

        Returns
        -------
        SweepResult
            Sorted by the first column.

        Raises
        ------
        UsageError
            Fewer than two columns, or no such column of numbers.
        """
        if len(columns) < 2:
            raise UsageError("pareto: expected at least two columns, such as time_ms,ddr_capacity")
        names = [str(column).removeprefix("-") for column in columns]
        self.check_columns(names, numbers=True)
        signs = [-1 if column.startswith("-") else 1 for column in columns]
        scored = []
        for row in self.rows:
            found = [row.get(name) for name in names]
            if row.failure is None and None not in found:
                scored.append((tuple(sign * value for sign, value in zip(signs, found, strict=True)), row))
        scored.sort(key=lambda pair: pair[0])
        front: list[tuple[tuple, Row]] = []
        for score, row in scored:
            if not any(_beats(other, score) for other, _ in front):
                front.append((score, row))
        return self._with([row for _, row in front])

    def pivot(self, down: str, across: str, column: str = "time_ms") -> Pivot:
        """Lay a column out over two keys.

        Returns
        -------
        Pivot

        Raises
        ------
        UsageError
            There is no such column, or two points have the same place: then name a study with fewer axes.
        """
        self.check_columns([down, across, column])
        if down == across:
            raise UsageError(f"pivot: found {down} twice, expected two columns")
        rows = list(dict.fromkeys(row.get(down) for row in self.rows))
        columns = list(dict.fromkeys(row.get(across) for row in self.rows))
        cells: dict[tuple, Row] = {}
        for row in self.rows:
            place = row.get(down), row.get(across)
            if place in cells:
                raise UsageError(f"pivot: two points have {down} {place[0]} and {across} {place[1]}, expected one"
                                 f" (--where can leave out others: {', '.join(self.varying)} vary)")
            cells[place] = row
        table = [[cells[r, c].get(column) if (r, c) in cells else None for c in columns] for r in rows]
        return Pivot(down=down, across=across, column=column, rows=rows, columns=columns, cells=table)

    def _with(self, rows):
        return SweepResult(rows, self.keys, self.varying)


def _beats(one, other):
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


class Pivot(msgspec.Struct, frozen=True, kw_only=True):
    """A column over two keys: a row for each value of `down`, a column for each of `across`; None where no point is."""

    down: str
    across: str
    column: str
    rows: list[Value]
    columns: list[Value]
    cells: list[list[Any]]


def collect(points: Sequence[Point], store: Store, keys: Sequence[str], varying: Sequence[str]) -> SweepResult:
    """Make the result of points whose records a store has.

    Returns
    -------
    SweepResult
    """
    return SweepResult([row_of(point, store.get(point.id)) for point in points], keys, varying)
