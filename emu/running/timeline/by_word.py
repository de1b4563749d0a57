"""From the counters of the scoreboard by word to cycles by stage, opcode and loop: sums, nothing is estimated."""

import numpy as np

from ... import isa
from ...kernels import layout
from ...kernels.hardware.scoreboard import layout as sl
from ...program.decode import Program
from ...result.cycle_table import CycleRow, Cycles, CycleTable
from ..attribution.labels import Labels, path_name
from ..attribution.loops import loop_paths
from .rules import Rules

# Columns of the counters of a group, before those of stalls (one a reason) and of work (one a resource).
_INSTRUCTIONS, _RECOVERY, _BACKEND, _DRAIN, _REASONS = range(5)


def cycle_table(
    program: Program, counts: np.ndarray, sb: sl.Scoreboard, rules: Rules, labels: Labels, with_loops: bool = False
) -> CycleTable:
    """Say where the cycles of a timeline went.

    Parameters
    ----------
    program : Program
    counts : int64[words]
        How often each word was executed.
    sb : Scoreboard
        At the end of the run, with counters by word.
    rules : Rules
    labels : Labels
        The stage of each word.
    with_loops : bool
        Whether by loop as well.

    Returns
    -------
    CycleTable
    """
    words = _Words(program, counts, sb, rules)
    ids = program.table[:, layout.OP_ID]
    return CycleTable(
        timing=rules.timing.name,
        source=labels.source,
        core_period_ps=int(sb.dims[sl.DIM_PERIOD]),
        stages=words.rows(labels.of_word, [tuple(stage) for stage in labels.stages]),
        opcodes=words.rows(ids, [() if op is None else (op.name(program.revision),) for op in isa.BY_ID]),
        loops=words.loops() if with_loops else None,
    )


class _Words:
    """Counters by word, ready to be summed up by any grouping of the words."""

    def __init__(self, program, counts, sb, rules):
        self._program, self._counts, self._reasons = program, counts, rules.reasons
        self._waited = np.flatnonzero(sb.by_pc.any(axis=1))
        self._by_pc = sb.by_pc[self._waited]
        self._last = int(sb.reg[sl.SB_LAST_PC])
        self._drain = int(sb.reg[sl.SB_MAKESPAN] - sb.reg[sl.SB_NEXT_ISSUE])
        ids = program.table[:, layout.OP_ID]
        self._resource = sb.rules[ids, sl.RULE_RESOURCE]
        self._work = counts * np.maximum(sb.rules[ids, sl.RULE_BUSY], 0)  # SERVICE of a DMA is counted by the pass

    def sums(self, group, groups):
        """Counters of each group: int64[groups, _REASONS + reasons + resources]."""
        reasons = len(self._reasons)
        sums = np.zeros((groups, _REASONS + reasons + len(sl.RESOURCES)), dtype=np.int64)
        work = sums[:, _REASONS + reasons :]
        np.add.at(sums[:, _INSTRUCTIONS], group, self._counts)
        np.add.at(work, (group, self._resource), self._work)
        waited = group[self._waited]
        np.add.at(sums[:, _RECOVERY], waited, self._by_pc[:, sl.PC_RECOVERY])
        np.add.at(sums[:, _BACKEND], waited, self._by_pc[:, sl.PC_BACKEND])
        np.add.at(work, (waited, self._resource[self._waited]), self._by_pc[:, sl.PC_SERVICE])
        np.add.at(sums[:, _REASONS : _REASONS + reasons], waited, self._by_pc[:, sl.PC_REASONS :])
        if self._last != sl.NONE:
            sums[group[self._last], _DRAIN] = self._drain
        return sums

    def rows(self, group, keys):
        """A row for each group that was executed."""
        sums = self.sums(group, len(keys)).tolist()
        return [CycleRow(key=key, cycles=self._cycles(row)) for key, row in zip(keys, sums, strict=True)
                if row[_INSTRUCTIONS]]

    def loops(self):
        """A row for each loop, with everything inside it."""
        paths, of_word = loop_paths(self._program.table)
        sums = self.sums(of_word, len(paths))  # of the words that lie in no loop further in
        place = {path: number for number, path in enumerate(paths)}
        for number in range(len(paths) - 1, 0, -1):  # a loop comes before those inside it
            if len(paths[number]) > 1:
                sums[place[paths[number][:-1]]] += sums[number]
        return [CycleRow(key=(path_name(path),), cycles=self._cycles(row))
                for path, row in zip(paths, sums.tolist(), strict=True) if path and row[_INSTRUCTIONS]]

    def _cycles(self, row):
        stalls = row[_REASONS : _REASONS + len(self._reasons)]
        work = row[_REASONS + len(self._reasons) :]
        return Cycles(
            instructions=row[_INSTRUCTIONS], recovery=row[_RECOVERY], drain=row[_DRAIN], backend_wait=row[_BACKEND],
            stalls=dict(sorted((name, cycles) for name, cycles in zip(self._reasons, stalls, strict=True) if cycles)),
            work={name: cycles for name, cycles in zip(sl.RESOURCES, work, strict=True) if cycles},
        )
