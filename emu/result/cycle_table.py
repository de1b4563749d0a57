"""Cycles of a hardware timeline by part of the program: what `profile --timing` shows (spec §7.9)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Cycles(msgspec.Struct, kw_only=True):
    """Core cycles of a part of a program. Those of disjoint parts add up to those of the run, exactly.

    The timeline's makespan is parted among the instructions: to each belong the cycles from the issue after its
    predecessor to its own issue slot. So `cycles` = `instructions` (a cycle each) + all of `stalls` (by reason) +
    `recovery` + `drain`, and the `cycles` of all parts sum to the makespan. `drain` are the cycles from the last issue
    to the last completion; they belong to the instruction that completes last. Beside that, `backend_wait` are cycles
    between acceptance and start, and `work` those from start to completion, by resource (§7.11); units work side by
    side, so these sum to other figures.
    """

    instructions: int = 0
    stalls: dict[str, int] = {}
    recovery: int = 0
    drain: int = 0
    backend_wait: int = 0
    work: dict[str, int] = {}

    @property
    def cycles(self) -> int:
        """Share of the makespan."""
        return self.instructions + self.stall + self.recovery + self.drain

    @property
    def stall(self) -> int:
        """Cycles of all stalls."""
        return sum(self.stalls.values())

    def plus(self, other: Cycles) -> Cycles:
        """Add the cycles of a disjoint part; returns the sum."""
        return Cycles(
            instructions=self.instructions + other.instructions, stalls=_added(self.stalls, other.stalls),
            recovery=self.recovery + other.recovery, drain=self.drain + other.drain,
            backend_wait=self.backend_wait + other.backend_wait, work=_added(self.work, other.work),
        )


def named(names: tuple[str, ...], with_loops: bool) -> tuple[str, ...]:
    """Take names of a grouping apart at commas; `ValueError` for `loop` where a run kept no figures of loops.

    Returns
    -------
    tuple of str
    """
    parts = tuple(part for name in names for part in name.split(","))
    if parts == ("loop",) and not with_loops:
        raise ValueError("grouping by loop: the run kept no figures of loops, expected one with loops=True"
                         " (plena-emu profile --by loop)")
    return parts


def places_of(names: tuple[str, ...], tables: tuple[str, ...]) -> list[int]:
    """Find the places in keys of stages, (layer, operator), that a grouping other than `tables` takes.

    Raises
    ------
    ValueError
        A name is neither, or stands twice.
    """
    if not names or len(set(names)) != len(names) or not set(names) <= {"layer", "operator"}:
        raise ValueError(f"grouping by {', '.join(names) or 'nothing'}: expected layer, operator or both,"
                         f" or one of {', '.join(tables)}")
    return [("layer", "operator").index(name) for name in names]


def _added(some: dict[str, int], others: dict[str, int]) -> dict[str, int]:
    return {key: some.get(key, 0) + others.get(key, 0) for key in sorted({*some, *others})}


class CycleRow(msgspec.Struct, kw_only=True):
    """Cycles under a key: (layer, operator), (opcode,) or (loop,)."""

    key: tuple[int | str | None, ...]
    cycles: Cycles


class CycleTable(msgspec.Struct, kw_only=True):
    """Where the cycles of a hardware timeline went.

    Attributes
    ----------
    timing : str
        Name of the timing file.
    source : str
        What the stages come from, as in `StageTable`.
    core_period_ps : int
        A core cycle.
    stages : list of CycleRow
        By (layer, operator), in program order.
    opcodes : list of CycleRow
        By mnemonic.
    loops : list of CycleRow or None
        By loop, everything inside it included; None where nobody asked (see `StageTable`).
    """

    timing: str
    source: str
    core_period_ps: int
    stages: list[CycleRow]
    opcodes: list[CycleRow]
    loops: list[CycleRow] | None = None

    def by(self, *names: str) -> list[CycleRow]:
        """Group the cycles.

        Parameters
        ----------
        names : str
            `layer`, `operator` or both in either order; else one of `opcode`, `loop`. `layer,operator` is the same.

        Returns
        -------
        list of CycleRow
            Keys in the order of `names`; the rows in program order.

        Raises
        ------
        ValueError
            For other names, and for `loop` where the run kept no figures of loops.
        """
        names = named(names, self.loops is not None)
        if names in (("opcode",), ("loop",)):
            return getattr(self, f"{names[0]}s")
        places = places_of(names, ("opcode", "loop"))
        return _merged((tuple(row.key[place] for place in places), row.cycles) for row in self.stages)

    @property
    def total(self) -> Cycles:
        """Sum over all stages."""
        rows = _merged(((), row.cycles) for row in self.stages)
        return rows[0].cycles if rows else Cycles()


def _merged(pairs: Iterable[tuple[tuple, Cycles]]) -> list[CycleRow]:
    """Sum cycles under equal keys; the rows come in the order of the first of each."""
    sums: dict[tuple, Cycles] = {}
    for key, cycles in pairs:
        sums[key] = sums[key].plus(cycles) if key in sums else cycles
    return [CycleRow(key=key, cycles=cycles) for key, cycles in sums.items()]
