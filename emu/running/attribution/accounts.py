"""From the counters of a run to figures by stage, region, opcode and loop: sums of rows, nothing is estimated."""

import os
from collections.abc import Sequence

import numpy as np

from ... import isa
from ...kernels import layout
from ...kernels.limits import ACCESS_BYTES
from ...kernels.memory import ledger as lg
from ...manifests.schema import Manifest
from ...memory.ledger import new_ledger
from ...program.decode import Program
from ...result import Figures, Row, StageTable, merged
from .labels import Labels, labels_of, path_name
from .loops import loop_paths
from .multiply_adds import multiply_adds_of
from .regions import OUTSIDE, named_regions

MACHINE_CODE = "generated_machine_code.mem"

# Which compute time an instruction type belongs to.
UNITS = {"matrix": "matrix_ps", "vector": "vector_ps", "scalar_fp": "scalar_ps", "scalar_int": "scalar_ps",
         "control": "scalar_ps", "memory": "scalar_ps"}  # memory operations cost no compute time

_ROWS = ("row_misses", "row_conflicts", "row_hits")  # columns from `LG_ROW_MISSES` on

_HALF = (1 << 32) - 1

# Columns before those of the ledger.
_INSTRUCTIONS, _COMPUTE, _MATRIX, _VECTOR, _SCALAR, _MULTIPLY_ADDS, _FIRST = range(7)


class Bookkeeping:
    """Everything that is decided before a run about who is charged for what.

    Parameters
    ----------
    program : Program
    manifest : Manifest
        Of the memory model.
    opcode : str
        Path of the machine code; in a build directory (§5.6) the files beside it name stages and regions.

    Raises
    ------
    EmuError
        `stages.json` is malformed, or a file of the build cannot be read.
    """

    def __init__(self, program: Program, manifest: Manifest, opcode: str):
        folder, name = os.path.split(opcode)
        directory = (folder or ".") if name == MACHINE_CODE else None
        labels = labels_of(program, directory)
        regions, warnings = named_regions(manifest, directory)
        self.program = program
        self.labels = labels._replace(warnings=labels.warnings + warnings)
        self.region_names = [entry.name for entry in regions]
        self.ledger = new_ledger(len(program), [entry.region for entry in regions])

    def accounts(self, cfg: np.ndarray, counts: np.ndarray, with_rows: bool) -> "Accounts":
        """Close the books: geometry of the run, int64[words] executions of each word, whether a DRAM was behind it."""
        return Accounts(self.program, cfg, counts, self.ledger, self.labels, self.region_names, with_rows)


class Accounts:
    """Counters of a run by word, and what they sum to.

    Parameters
    ----------
    program : Program
    cfg : int64[CFG_WIDTH]
        Geometry.
    counts : int64[words]
        How often each word was executed.
    ledger : Ledger
        What its transfers took.
    labels : Labels
    regions : sequence of str
        Names, in the order of the rows of `ledger.by_region`.
    with_rows : bool
        Whether a DRAM controller counted row hits.
    """

    def __init__(self, program: Program, cfg: np.ndarray, counts: np.ndarray, ledger: lg.Ledger, labels: Labels,
                 regions: Sequence[str], with_rows: bool):
        self.program = program
        self.cfg = cfg
        self.labels = labels
        self.regions = regions
        self.with_rows = with_rows
        self.by_region = ledger.by_region
        self.columns = _columns(program, cfg, counts, ledger)

    def table(self, period_ps: int, with_loops: bool = False) -> StageTable:
        """Sum up the counters of a run whose core cycle is `period_ps`.

        Returns
        -------
        StageTable
        """
        return StageTable(
            source=self.labels.source,
            array_size=int(self.cfg[layout.CFG_BLEN]) ** 2,
            core_period_ps=period_ps,
            stages=self._stages(),
            regions=self._regions(),
            opcodes=self._opcodes(),
            loops=self._loops() if with_loops else [],
            warnings=self.labels.warnings,
        )

    def _stages(self):
        sums = _grouped(self.columns, self.labels.of_word, len(self.labels.stages))
        return [Row(key=tuple(stage), figures=_figures(row, self.with_rows))
                for stage, row in zip(self.labels.stages, sums.tolist(), strict=True) if row[_INSTRUCTIONS]]

    def _opcodes(self):
        ids = self.program.table[:, layout.OP_ID]
        sums = _grouped(self.columns, ids, isa.NUM_OPS).tolist()
        return [Row(key=(op.name(self.program.revision),), figures=_figures(sums[op.id], self.with_rows))
                for op in isa.OPS if sums[op.id][_INSTRUCTIONS]]

    def _regions(self):
        names = [*self.regions, OUTSIDE]
        rows = [[0] * _FIRST + row for row in self.by_region.tolist()]
        used = [(name, row) for name, row in zip(names, rows, strict=True) if row[_FIRST + lg.LG_EVENTS]]
        return merged(((name,), _figures(row, self.with_rows)) for name, row in used)

    def _loops(self):
        paths, _ = loop_paths(self.program.table)
        sums = np.zeros((len(self.columns) + 1, self.columns.shape[1]), dtype=np.int64)
        np.cumsum(self.columns, axis=0, out=sums[1:])
        rows = [(path, (sums[path[-1].end + 1] - sums[path[-1].start]).tolist()) for path in paths if path]
        return [Row(key=(path_name(path),), figures=_figures(row, self.with_rows))
                for path, row in rows if row[_INSTRUCTIONS]]


def _columns(program, cfg, counts, ledger):
    """int64[words, _FIRST + LG_WIDTH]: all counters of each word."""
    table = program.table
    columns = np.zeros((len(table), _FIRST + lg.LG_WIDTH), dtype=np.int64)
    columns[:, _INSTRUCTIONS] = counts
    columns[:, _COMPUTE] = counts * table[:, layout.OP_COST]
    unit = np.full(isa.NUM_OPS, _SCALAR)
    for op in isa.OPS:
        unit[op.id] = {"matrix_ps": _MATRIX, "vector_ps": _VECTOR, "scalar_ps": _SCALAR}[UNITS[op.type]]
    columns[np.arange(len(table)), unit[table[:, layout.OP_ID]]] = columns[:, _COMPUTE]
    columns[:, _MULTIPLY_ADDS] = counts * multiply_adds_of(table, cfg)
    columns[:, _FIRST:] = ledger.by_pc
    return columns


def _grouped(columns, group, groups):
    """Sums of the rows of each group, int64[groups, columns]; no value is negative."""
    sums = np.zeros((groups, columns.shape[1]), dtype=np.int64)
    for number in range(columns.shape[1]):
        used = np.flatnonzero(columns[:, number])
        values = columns[used, number]
        # Sums of doubles are exact below 2^53: those of halves, for fewer than 2^21 words.
        for shift, part in ((32, values >> 32), (0, values & _HALF)):
            if len(used) and (shift == 0 or part.any()):
                found = np.bincount(group[used], part, minlength=groups)
                sums[:, number] += found.astype(np.int64) << shift
    return sums


def _figures(row, with_rows) -> Figures:
    """Figures of a row of counters, as Python integers: bytes swapped in may pass 64 bits."""
    ledger = row[_FIRST:]
    swapped = (ledger[lg.LG_SWAPPED_HI] << 32) + ledger[lg.LG_SWAPPED_LO]
    return Figures(
        instructions=row[_INSTRUCTIONS], compute_ps=row[_COMPUTE], matrix_ps=row[_MATRIX], vector_ps=row[_VECTOR],
        scalar_ps=row[_SCALAR], memory_ps=ledger[lg.LG_PS], transfers=ledger[lg.LG_EVENTS],
        bytes_read=ledger[lg.LG_READ], bytes_written=ledger[lg.LG_WRITTEN],
        link_bytes=ACCESS_BYTES * ledger[lg.LG_STREAMED] + swapped, link_ps=ledger[lg.LG_LINK_PS],
        swaps=ledger[lg.LG_SWAPS], multiply_adds=row[_MULTIPLY_ADDS],
        **(dict(zip(_ROWS, ledger[lg.LG_ROW_MISSES :], strict=True)) if with_rows else {}),
    )
