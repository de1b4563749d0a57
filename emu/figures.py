"""What a part of a program cost: rows of a result record by stage, HBM region, opcode or loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import pandas


class Figures(msgspec.Struct, kw_only=True):
    """Figures of a part of a program. Those of disjoint parts add up to those of the run, exactly.

    Every duration is in picoseconds. `matrix_ps` + `vector_ps` + `scalar_ps` (scalar and control) = `compute_ps`;
    `memory_ps` is the time that the core waits for transfers. `bytes_read` includes the reads of stores (§3.3).
    `link_bytes` are the bytes over the host link, `link_ps` the time they take on it at its bandwidth, `swaps` the
    layers or regions swapped in whole. The `row_*` are transfers of a DRAM by the first command issued for each (§4.8),
    None without a DRAM controller.
    """

    instructions: int = 0
    compute_ps: int = 0
    matrix_ps: int = 0
    vector_ps: int = 0
    scalar_ps: int = 0
    memory_ps: int = 0
    transfers: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    link_bytes: int = 0
    link_ps: int = 0
    swaps: int = 0
    multiply_adds: int = 0
    row_hits: int | None = None
    row_misses: int | None = None
    row_conflicts: int | None = None

    @property
    def time_ps(self) -> int:
        """Compute and memory time."""
        return self.compute_ps + self.memory_ps

    def add(self, other: Figures) -> None:
        """Add the figures of a disjoint part."""
        for name in FIELDS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if theirs is not None:
                setattr(self, name, theirs if mine is None else mine + theirs)


FIELDS = Figures.__struct_fields__


class Row(msgspec.Struct, kw_only=True):
    """Figures under a key: (layer, operator), (region,), (opcode,) or (loop,)."""

    key: tuple[int | str | None, ...]
    figures: Figures


class StageTable(msgspec.Struct, kw_only=True):
    """Where a run's time, bytes and multiply-adds went.

    Attributes
    ----------
    source : str
        What the stages come from: a file, or `loops` where nothing names any (then operators are paths of loops).
    array_size : int
        Multiply-adds the matrix unit can begin a cycle, BLEN x BLEN.
    stages : list of Row
        By (layer, operator), in program order; layer is None outside layers.
    regions : list of Row
        By HBM region, transfers only: each counts for the region that holds its first element.
    opcodes : list of Row
        By mnemonic.
    loops : list of Row
        By loop, everything inside it included, so that rows overlap; only where it was asked for.
    warnings : list of str
    """

    source: str
    array_size: int
    stages: list[Row]
    regions: list[Row]
    opcodes: list[Row]
    loops: list[Row] = []
    warnings: list[str] = []

    def by(self, *names: str) -> list[Row]:
        """Group the figures.

        Parameters
        ----------
        names : str
            `layer`, `operator` or both in either order; else one of `region`, `opcode`, `loop`.

        Returns
        -------
        list of Row
            Keys in the order of `names`; the rows in program order.

        Raises
        ------
        ValueError
            For other names.
        """
        if names in (("region",), ("opcode",), ("loop",)):
            return getattr(self, f"{names[0]}s")
        if not names or len(set(names)) != len(names) or not set(names) <= {"layer", "operator"}:
            raise ValueError(f"grouping by {', '.join(names) or 'nothing'}: expected layer, operator or both,"
                             " or one of region, opcode, loop")
        places = [("layer", "operator").index(name) for name in names]
        return merged((tuple(row.key[place] for place in places), row.figures) for row in self.stages)

    @property
    def total(self) -> Figures:
        """Sum over all stages."""
        sums = Figures()
        for row in self.stages:
            sums.add(row.figures)
        return sums

    def array_utilization(self, figures: Figures) -> float:
        """Multiply-adds over those the matrix unit could have done meanwhile; 0 where no time passed.

        Broadcast products (M_BMM, M_BTMM and their row forms) do more a cycle than the unit has multipliers (§9.4),
        so that this can exceed 1.
        """
        return 1000 * figures.multiply_adds / (self.array_size * figures.time_ps) if figures.time_ps else 0.0

    def to_pandas(self, *names: str) -> pandas.DataFrame:
        """Build a data frame of `by(*names)`, by layer and operator if none is named; needs pandas."""
        import pandas

        names = names or ("layer", "operator")
        rows = self.by(*names)
        columns = {name: [row.key[at] for row in rows] for at, name in enumerate(names)}
        columns |= {name: [getattr(row.figures, name) for row in rows] for name in FIELDS}
        columns["array_utilization"] = [self.array_utilization(row.figures) for row in rows]
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        whole = self.total.time_ps
        rows = sorted(self.by("operator"), key=lambda row: -row.figures.time_ps)
        parts = [f"{row.key[0]} {100 * row.figures.time_ps / whole:.1f} %" for row in rows[:3] if whole]
        more = f", and {len(rows) - 3} more" if len(rows) > 3 else ""
        return f"<StageTable {whole / 1e6:,.1f} µs: {', '.join(parts)}{more}>"

    def _repr_html_(self) -> str:
        whole = self.total.time_ps
        cells = ["<tr><th>operator<th>time (µs)<th>share<th>compute<th>memory<th>bytes read<th>multiply-adds"]
        for row in sorted(self.by("operator"), key=lambda row: -row.figures.time_ps):
            f = row.figures
            share = f"{100 * f.time_ps / whole:.1f} %" if whole else ""
            cells.append(f"<tr><td>{escape(str(row.key[0]))}<td>{f.time_ps / 1e6:,.3f}<td>{share}"
                         f"<td>{f.compute_ps / 1e6:,.3f}<td>{f.memory_ps / 1e6:,.3f}<td>{f.bytes_read:,}"
                         f"<td>{f.multiply_adds:,}")
        return f"<table>{''.join(cells)}</table>"


def escape(text: str) -> str:
    """Text for HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def merged(pairs: Iterable[tuple[tuple, Figures]]) -> list[Row]:
    """Sum figures under equal keys; the rows come in the order of the first of each."""
    sums: dict[tuple, Figures] = {}
    for key, figures in pairs:
        sums.setdefault(key, Figures()).add(figures)
    return [Row(key=key, figures=figures) for key, figures in sums.items()]
