"""A log of executed instructions for a window of a run: `run --pc-log` (one line an instruction)."""

from __future__ import annotations

import re
from typing import IO

import msgspec
import numpy as np

from ..errors import EmuError, UsageError
from ..program.decode import Program
from ..result import nanoseconds
from .attribution.labels import Labels
from .clock import Clock
from .simulation import Simulation

SLICE = 1 << 12  # most instructions a slice executes inside a window
_PLACE = re.compile(r"(pc|count)=([0-9]{1,18})")
_STAGE = re.compile(r"(?:([0-9]{1,9})/)?([a-z][\w.]*)")


class Start(msgspec.Struct, frozen=True):
    """Where a window begins: at an executed instruction, at the first execution of a word, or of a stage."""

    count: int | None = None
    pc: int | None = None
    layer: int | None = None
    operator: str | None = None


def parse_start(text: str, flag: str = "--from") -> Start:
    """Read `count=N`, `pc=N`, `OPERATOR` or `LAYER/OPERATOR`, as `flag` gives it; `UsageError` for anything else."""
    if place := _PLACE.fullmatch(text):
        return Start(pc=int(place[2])) if place[1] == "pc" else Start(count=int(place[2]))
    if stage := _STAGE.fullmatch(text):
        return Start(layer=None if stage[1] is None else int(stage[1]), operator=stage[2])
    raise UsageError(f"{flag} {text!r}: expected count=N, pc=N, an operator such as attn.qkv, or one of a layer such as"
                     " 0/attn.qkv")


def first_word(start: Start, labels: Labels, words: int, flag: str = "--from") -> int:
    """Find the word at which a window by pc or stage begins.

    Returns
    -------
    int

    Raises
    ------
    EmuError
        The program has no such word or stage.
    """
    if start.pc is not None:
        if start.pc >= words:
            raise EmuError(f"{flag} pc={start.pc}: the program has {words} words")
        return start.pc
    wanted = [k for k, stage in enumerate(labels.stages)
              if stage.operator == start.operator and start.layer in (None, stage.layer)]
    if not wanted:
        name = start.operator if start.layer is None else f"{start.layer}/{start.operator}"
        known = ", ".join(dict.fromkeys(stage.operator for stage in labels.stages))
        raise EmuError(f"{flag} {name}: the program has no such stage; its operators are {known}")
    return int(np.flatnonzero(np.isin(labels.of_word, wanted))[0])


class PcLog:
    """Writes a line for each instruction of a window.

    A line holds the number of instructions before it, its start in ns, its duration in ns, word index, layer and
    operator, the instruction, and the registers that it names, as they were before.
    """

    TITLES = "count\tstart_ns\ttook_ns\tpc\tlayer\toperator\tinstruction\trd\trs1\trs2\n"

    def __init__(self, file: IO[bytes], program: Program, labels: Labels):
        self._file = file
        self._program = program
        self._labels = labels
        self._count = self._now = 0
        file.write(self.TITLES.encode())

    def begin(self, count: int, now_ps: int) -> None:
        """Take the place of the first instruction: how many ran before, and when it starts."""
        self._count, self._now = count, now_ps

    def watch(self, executed: np.ndarray, durations: np.ndarray, events: np.ndarray) -> None:
        """Write the next instructions (see `Overlap.watch`)."""
        lines = []
        for (pc, rd, rs1, rs2), took in zip(executed.tolist(), durations.tolist(), strict=True):
            stage = self._labels.stages[self._labels.of_word[pc]]
            layer = "-" if stage.layer is None else stage.layer
            cells = (self._count, nanoseconds(self._now), nanoseconds(took), pc, layer, stage.operator,
                     self._program.text(pc), rd, rs1, rs2)
            lines.append("\t".join(map(str, cells)) + "\n")
            self._count += 1
            self._now += took
        self._file.write("".join(lines).encode())


class Window:
    """The part of a run that a `PcLog` sees: `count` instructions from the one after `first` on."""

    def __init__(self, log: PcLog, first: int, count: int):
        self._log = log
        self._first = first
        self._end = first + count
        self._clock: Clock | None = None

    def check(self, executed: int) -> None:
        """Refuse a run that was over before the window began; `executed` instructions ran. Raises `EmuError`."""
        if self._clock is None:
            raise EmuError(f"--from count={self._first}: the run ended after {executed} instructions")

    def limit(self, executed: int, most: int | None) -> int | None:
        """Find where the next slice must stop at the latest, so that the window begins and ends between slices."""
        edges = [edge for edge in (self._first, self._end, most) if edge is not None and edge > executed]
        return min(edges, default=most)

    def move(self, simulation: Simulation) -> None:
        """Begin or end the window where a run has come to its edge."""
        if simulation.executed == self._first and self._clock is None:
            self._clock = Clock(simulation.program, simulation.synchronise())
            self._log.begin(self._first, simulation.end_ps)
            simulation.trace(SLICE, self._watch)
        elif simulation.executed >= self._end:
            simulation.trace(0, None)

    def _watch(self, executed, events):
        self._log.watch(executed, self._clock.durations(executed, events), events)
