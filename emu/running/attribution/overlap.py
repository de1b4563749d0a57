"""The overlap overlay: what a run would take if prefetches ran beside later, independent compute (spec §8.6)."""

from typing import NamedTuple

import numpy as np

from ... import isa
from ...kernels import layout
from ...program.decode import Program
from ...result import OverlapFigures

PS_PER_CYCLE = 1000
MOST = 2**32 - 1  # where ends of ranges saturate

# What an instruction reads: lengths of a matrix and a vector range, by the geometry, from the registers named.
_TILE_ROWS = ("M_MM", "M_TMM")  # a tile, BLEN rows
_TILE_TILE = ("M_BMM", "M_BTMM")  # a tile, MLEN rows
_TILE_ROW = ("M_MV", "M_TMV", "M_BMV", "M_BTMV")  # a tile, one row
_OFFSET = ("M_BMV", "M_BTMV")  # the tile at gp[rs1] + gp[rd]
_TWO_ROWS = ("V_ADD_VV", "V_SUB_VV", "V_MUL_VV")

OTHER, PREFETCH, COMPUTE, CLEAR = range(4)


class _Range(NamedTuple):
    """Elements [first, end) of an SRAM; `space` tells the two apart."""

    space: str
    first: int
    end: int


def _range(space, first, length):
    return _Range(space, first, min(first + length, MOST))


class Overlap:
    """The overlay of one run, fed with its instructions in order of execution.

    Parameters
    ----------
    program : Program
    cfg : int64[CFG_WIDTH]
        Geometry.
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
        DMA descriptors, for the rows of a prefetch.
    """

    def __init__(self, program: Program, cfg: np.ndarray, descriptors: np.ndarray):
        self._mnemonic = [None if op is None else op.mnemonic for op in isa.BY_ID]
        self._table = program.table
        self._kind = _kinds()[program.table[:, layout.OP_ID]]
        self._mlen, self._vlen, self._blen = (int(cfg[k]) for k in (layout.CFG_MLEN, layout.CFG_VLEN, layout.CFG_BLEN))
        self._rows = {"H_PREFETCH_M": int(descriptors[layout.DESCRIPTOR_M_WEIGHT, layout.DESC_ROWS]),
                      "H_PREFETCH_V": int(descriptors[layout.DESCRIPTOR_V_ACT, layout.DESC_ROWS])}
        self._pending: list[tuple[int, _Range]] = []
        self._hidden = self._prefetches = self._computes = self._stalls = 0

    def watch(self, executed: np.ndarray, durations: np.ndarray, events: np.ndarray | None = None) -> None:
        """Take in the next instructions.

        Parameters
        ----------
        executed : int64[n, TR_WIDTH]
            Words and their registers before they ran.
        durations : int64[n]
            Serial durations, ps.
        events : int64[m, MEV_WIDTH], optional
            Memory events among them; the overlay needs nothing of them.
        """
        kinds = self._kind[executed[:, layout.TR_PC]]
        self._computes += int(np.count_nonzero(kinds == COMPUTE))
        starts = np.flatnonzero((kinds == PREFETCH) & (durations > 0))
        used = np.flatnonzero(kinds != OTHER)
        place = 0
        while place < len(used):
            row = int(used[place])
            if not self._pending:  # nothing to hide until the next prefetch
                after = int(np.searchsorted(starts, row))
                if after == len(starts):
                    return
                place = int(np.searchsorted(used, starts[after]))
                row = int(used[place])
            pc, rd, rs1, rs2 = executed[row].tolist()
            self._take(int(kinds[row]), pc, rd, rs1, rs2, int(durations[row]))
            place += 1

    def _take(self, kind, pc, rd, rs1, rs2, duration):
        name = self._mnemonic[self._table[pc, layout.OP_ID]]
        if kind == PREFETCH:
            if duration > 0:
                self._prefetches += 1
                matrix = name == "H_PREFETCH_M"
                length = (self._mlen if matrix else self._vlen) * self._rows[name]
                self._pending.append((duration, _range("matrix" if matrix else "vector", rd, length)))
        elif kind == CLEAR:
            self._pending.clear()
        else:
            self._compute(self._reads(name, rd, rs1, rs2), duration)

    def _compute(self, reads, duration):
        """Drop the prefetches that an instruction depends on; it hides the others, in issue order."""
        left = []
        for remaining, target in self._pending:
            if any(target.space == read.space and target.first < read.end and read.first < target.end
                   for read in reads):
                self._stalls += 1
                continue
            hidden = min(remaining, duration)
            duration -= hidden
            self._hidden += hidden
            if remaining > hidden:
                left.append((remaining - hidden, target))
        self._pending = left

    def _reads(self, name, rd, rs1, rs2):
        """Ranges that a compute instruction reads."""
        tile = self._mlen * self._mlen
        if name.startswith("V_"):
            rows = (rs1, rs2) if name in _TWO_ROWS else (rs1,)
            return [_range("vector", row, self._vlen) for row in rows]
        if name in _TILE_ROWS:
            return [_range("matrix", rs1, tile), _range("vector", rs2, self._mlen * self._blen)]
        if name in _TILE_TILE:
            return [_range("matrix", rs1, tile), _range("vector", rs2, tile)]
        if name in _TILE_ROW:
            first = (rs1 + rd) & MOST if name in _OFFSET else rs1
            return [_range("matrix", first, tile), _range("vector", rs2, self._vlen)]
        return []

    def figures(self, end_ps: int) -> OverlapFigures:
        """Sum up; `end_ps` is `end` of §3.1."""
        hidden = min(self._hidden, end_ps)
        serial, adjusted = -(-end_ps // PS_PER_CYCLE), -(-(end_ps - hidden) // PS_PER_CYCLE)
        pending = sum(remaining for remaining, _ in self._pending)
        return OverlapFigures(
            serial_cycles=serial, adjusted_cycles=adjusted, hidden_prefetch_cycles=serial - adjusted,
            pending_prefetch_cycles=-(-pending // PS_PER_CYCLE), prefetch_ops=self._prefetches,
            compute_ops=self._computes, dependent_prefetch_stalls=self._stalls,
        )


def _kinds():
    """int64[NUM_OPS]: what the overlay does with an operation."""
    kinds = np.full(isa.NUM_OPS, OTHER)
    for op in isa.OPS:
        if op.mnemonic in ("H_PREFETCH_M", "H_PREFETCH_V"):
            kinds[op.id] = PREFETCH
        elif op.mnemonic in ("H_STORE_V", "C_BREAK"):
            kinds[op.id] = CLEAR
        elif op.type in ("matrix", "vector"):
            kinds[op.id] = COMPUTE
    return kinds
