"""From the counters of a run to figures by stage, region, opcode and loop: sums of rows, nothing is estimated."""

from collections.abc import Sequence

import numpy as np

from ... import isa
from ...config.build_dir import build_of
from ...kernels import layout
from ...kernels.limits import ACCESS_BYTES
from ...kernels.memory import ledger as lg
from ...manifests.schema import Manifest
from ...memory.ledger import new_ledger
from ...program.decode import Program
from ...result import Figures, Row, StageTable, merged
from .labels import Labels, labels_of, path_name
from .loops import loop_paths
from .multiply_adds import broadcast_words, multiply_adds_of
from .regions import OUTSIDE, named_regions

# Which compute time an instruction type belongs to.
UNITS = {"matrix": "matrix_ps", "vector": "vector_ps", "scalar_fp": "scalar_ps", "scalar_int": "scalar_ps",
         "control": "scalar_ps", "memory": "scalar_ps"}  # memory operations cost no compute time

_ROWS = ("row_misses", "row_conflicts", "row_hits")  # columns from `LG_ROW_MISSES` on

_HALF = (1 << 32) - 1

_UNITS = ("matrix_ps", "vector_ps", "scalar_ps")  # in the order of their columns

# Columns before those of the ledger.
_INSTRUCTIONS, _COMPUTE, _MATRIX, _VECTOR, _SCALAR, _MULTIPLY_ADDS, _BROADCAST, _FIRST = range(8)


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
        directory = build_of(opcode)
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
        self._executed = _Executed(program, cfg, counts, ledger)

    def table(self, period_ps: int, with_loops: bool = False) -> StageTable:
        """Sum up the counters of a run whose core cycle is `period_ps`.

        Returns
        -------
        StageTable
        """
        return StageTable(
            source=self.labels.source,
            array_size=int(self.cfg[layout.CFG_BLEN]) ** 2,
            broadcast_size=int(self.cfg[layout.CFG_MLEN]) ** 2,
            core_period_ps=period_ps,
            stages=self._stages(),
            regions=self._regions(),
            opcodes=self._opcodes(),
            loops=self._loops() if with_loops else None,
            warnings=self.labels.warnings,
        )

    def _stages(self):
        sums = self._executed.by(self.labels.of_word, len(self.labels.stages))
        return [Row(key=tuple(stage), figures=_figures(row, self.with_rows))
                for stage, row in zip(self.labels.stages, sums.tolist(), strict=True) if row[_INSTRUCTIONS]]

    def _opcodes(self):
        ids = self.program.table[:, layout.OP_ID]
        sums = self._executed.by(ids, isa.NUM_OPS).tolist()
        return [Row(key=(op.name(self.program.revision),), figures=_figures(sums[op.id], self.with_rows))
                for op in isa.OPS if sums[op.id][_INSTRUCTIONS]]

    def _regions(self):
        names = [*self.regions, OUTSIDE]
        rows = [[0] * _FIRST + row for row in self.by_region.tolist()]
        used = [(name, row) for name, row in zip(names, rows, strict=True) if row[_FIRST + lg.LG_EVENTS]]
        return merged(((name,), _figures(row, self.with_rows)) for name, row in used)

    def _loops(self):
        paths, of_word = loop_paths(self.program.table)
        sums = self._executed.by(of_word, len(paths))  # of the words that lie in no loop further in
        place = {path: number for number, path in enumerate(paths)}
        for number in range(len(paths) - 1, 0, -1):  # a loop comes before those inside it
            if len(paths[number]) > 1:
                sums[place[paths[number][:-1]]] += sums[number]
        return [Row(key=(path_name(path),), figures=_figures(row, self.with_rows))
                for path, row in zip(paths, sums.tolist(), strict=True) if path and row[_INSTRUCTIONS]]


class _Executed:
    """Counters by word, ready to be summed up by any grouping of the words."""

    def __init__(self, program, cfg, counts, ledger):
        table = program.table
        unit_of = np.full(isa.NUM_OPS, _UNITS.index("scalar_ps"))
        for op in isa.OPS:
            unit_of[op.id] = _UNITS.index(UNITS[op.type])
        self._counts = counts
        self._compute = counts * table[:, layout.OP_COST]
        self._unit = unit_of[table[:, layout.OP_ID]]
        multiply_adds = counts * multiply_adds_of(table, cfg)
        self._products = np.flatnonzero(multiply_adds)
        self._multiply_adds = multiply_adds[self._products]
        self._broadcast = self._multiply_adds * broadcast_words(table[self._products])
        self._transfers = np.flatnonzero(ledger.by_pc[:, lg.LG_EVENTS])
        self._ledger = ledger.by_pc[self._transfers]

    def by(self, group: np.ndarray, groups: int) -> np.ndarray:
        """Sum up by `group`, int64[words] of numbers below `groups`: int64[groups, _FIRST + LG_WIDTH]."""
        sums = np.zeros((groups, _FIRST + lg.LG_WIDTH), dtype=np.int64)
        sums[:, _INSTRUCTIONS] = _sums(group, self._counts, groups)
        of_units = _sums(len(_UNITS) * group.astype(np.int64) + self._unit, self._compute, len(_UNITS) * groups)
        sums[:, _MATRIX : _SCALAR + 1] = of_units.reshape(groups, len(_UNITS))
        sums[:, _COMPUTE] = sums[:, _MATRIX : _SCALAR + 1].sum(axis=1)
        for column, values in ((_MULTIPLY_ADDS, self._multiply_adds), (_BROADCAST, self._broadcast)):
            sums[:, column] = _sums(group[self._products], values, groups)
        np.add.at(sums[:, _FIRST:], group[self._transfers], self._ledger)
        return sums


def _sums(group, values, groups):
    """Sums of the values of each group, int64[groups]; no value is negative."""
    # Sums of doubles are exact below 2^53: those of halves, for fewer than 2^21 words.
    sums = np.bincount(group, values & _HALF, minlength=groups).astype(np.int64)
    high = values >> 32
    if high.any():
        sums += np.bincount(group, high, minlength=groups).astype(np.int64) << 32
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
        swaps=ledger[lg.LG_SWAPS], multiply_adds=row[_MULTIPLY_ADDS], broadcast_multiply_adds=row[_BROADCAST],
        **(dict(zip(_ROWS, ledger[lg.LG_ROW_MISSES :], strict=True)) if with_rows else {}),
    )
