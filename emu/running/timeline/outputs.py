"""What a run with hardware timing leaves behind: its part of the result, and the files of spec §7.12."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ... import isa
from ...atomic_files import OutputSet, told, write_whole
from ...config.hardware import Hardware
from ...errors import EmuError
from ...inputs.choices import DMAS
from ...kernels.hardware.scoreboard.layout import OBSERVED_SLICE
from ...program.decode import Program
from ...request import RunRequest
from ...result import HardwareTiming
from .event_trace import EventTrace
from .json_text import json_text
from .memory_profile import calibration, dma_transfers, rtl_profile, serial_profile
from .reports import serial_validation, timeline_report, validation_report
from .rules import Rules, make_rules
from .scoreboard import ScoreboardPass
from .serial import SerialPass

if TYPE_CHECKING:
    from ...result.cycle_table import CycleTable
    from ..attribution.labels import Labels
    from .event_table import EventTable
    from .unit_timeline import UnitTimeline

PROFILE_NAME = "memory_profile.json"  # beside the program, unless another is named


class _OutputFiles:
    """Context of files that appear together; an error names the kind and the path of the one it belongs to."""

    def __init__(self):
        self._outputs = OutputSet()
        self._kinds: dict[str, str] = {}

    def __enter__(self):
        self._outputs.__enter__()
        return self

    @contextlib.contextmanager
    def open(self, kind: str, path: str) -> Iterator[BinaryIO]:
        """Begin a file, with its directory; raises `EmuError`."""
        self._kinds[path] = kind
        with told(kind, path):
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            yield self._outputs.open(path)

    def __exit__(self, kind, error, trace):
        try:
            self._outputs.__exit__(kind, error, trace)
        except OSError as failure:
            with told(self._kinds[failure.filename], failure.filename):
                raise


class HardwareRun:
    """The hardware timing of one run: opens its passes and traces, then reports.

    Attributes
    ----------
    hardware : Hardware
    warnings : list of str
    """

    def __init__(self, request: RunRequest, settings, program: Program, hardware: Hardware,
                 units: UnitTimeline | None = None):
        self.hardware = hardware
        self.warnings: list[str] = []
        self._request = request
        self._rules: Rules | None = None
        self._program = program
        self._traces: list[EventTrace] = []
        self._table: EventTable | None = None
        self._units = units
        if request.timing != "serial":
            from ...boards.timing_schema import load_timing
            self._rules = make_rules(load_timing(request.timing), settings)
        self._scoreboard: ScoreboardPass | None = None
        self._serial: SerialPass | None = None
        self._open_traces(program)
        watched = bool(self._traces) or self._table is not None or units is not None
        on_placed = self._add if watched else None
        capacity = OBSERVED_SLICE if watched else 0
        if self._rules is not None:
            self._scoreboard = ScoreboardPass(self._rules, program, settings, hardware.period_ps, capacity, on_placed,
                                              len(program) if request.stages else 0)
        elif watched or request.memory_profile is not None:
            self._serial = SerialPass(program, hardware.period_ps, on_placed)

    @property
    def timeline(self) -> ScoreboardPass | SerialPass | None:
        """The pass that the simulation feeds; None where the serial latency is all that was asked for."""
        return self._scoreboard or self._serial

    def _open_traces(self, program):
        request = self._request
        for path, memory_only in ((request.event_trace, False), (request.dma_event_trace, True)):
            if path is not None:
                self._traces.append(EventTrace(path, program, self._rules, memory_only))
        if request.event_table is not None:
            from .event_table import MOST_ROWS, EventTable

            self._table = EventTable(request.event_table, program, self._rules, request.event_rows or MOST_ROWS)

    def _add(self, pcs, placed, events):
        for trace in self._traces:
            trace.add(pcs, placed)
        if self._table is not None:
            self._table.add(pcs, placed)
        if self._units is not None:
            self._units.place(pcs, placed, events)

    @property
    def latency_ps(self) -> int | None:
        """Latency on the rtl-v1 timeline, None in serial mode."""
        return None if self._scoreboard is None else self._scoreboard.latency_ps

    def validation(self) -> dict:
        """Build the validation object; in serial mode of what a `SerialPass` saw."""
        if self._scoreboard is not None:
            return validation_report(self._scoreboard.state, self._scoreboard.rules)
        serial = self._serial
        return serial_validation({op.mnemonic: (int(serial.count[op.id]), int(serial.cycles[op.id]))
                                  for op in isa.OPS if serial is not None and serial.count[op.id]})

    def cycles(self, counts: np.ndarray, labels: Labels) -> CycleTable | None:
        """Say where the cycles of the timeline went; None in serial mode.

        `counts` is how often each word was executed (int64[words]), `labels` what stage it belongs to.
        """
        if self._scoreboard is None:
            return None
        from .by_word import cycle_table

        return cycle_table(self._program, counts, self._scoreboard.state, self._scoreboard.rules, labels,
                           self._request.loops)

    def report(self, serial_latency_ps: int, memory, descriptors: np.ndarray) -> HardwareTiming:
        """Build the run's part of the result record.

        Parameters
        ----------
        serial_latency_ps : int
            Latency of the serial run.
        memory : RegimeModel
        descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
        """
        scoreboard = self._scoreboard
        operations = getattr(memory.engine, "operations", None)
        moved = memory.bytes_read, memory.bytes_written
        return HardwareTiming(
            timing=self._request.timing if self._rules is None else self._rules.timing.name,
            timing_file=None if self._rules is None else self._rules.timing.source,
            dma=self._request.dma or DMAS[0],  # a request that was checked has one
            clock_period_ps=self.hardware.period_ps,
            hbm_channels=memory.engine.dram and memory.engine.dram.organisation.channel,
            serial_latency_ps=serial_latency_ps,
            timeline=None if scoreboard is None else timeline_report(scoreboard.state, scoreboard.rules),
            dma_transfers=None if operations is None else dma_transfers(descriptors, operations, *moved),
        )

    def write(self, record: HardwareTiming, moved: tuple[int, int]) -> None:
        """Write the files that were asked for; `moved` are bytes read and written.

        Traces and validation appear together, or none of them does.

        Raises
        ------
        EmuError
            A trace or the validation cannot be written. A profile that cannot is a warning.
        """
        try:
            with _OutputFiles() as files:
                self._write_traces(files)
        finally:
            for events in (*self._traces, *((self._table,) if self._table is not None else ())):
                events.close()
        if self._table is not None and self._table.left_out:
            self.warnings.append(f"event trace {self._table.path}: {self._table.left_out} instructions after the"
                                 f" first {self._table.most} are left out ({self._request.called('event_rows')})")
        if self._units is not None and self._scoreboard is not None:
            self._units.end(self._scoreboard.state)
        if self._request.memory_profile is not None:
            self._write_profile(record, moved)

    def _write_traces(self, files):
        validation = self.validation()
        origin = None if self._rules is None else calibration(self._rules)
        for trace in self._traces:
            with files.open(trace.kind, trace.path) as file:
                trace.write(file, self.hardware.period_ps, origin, validation)
        if self._table is not None:
            with files.open("event trace", self._table.path) as file:
                self._table.write(file)
        path = self._request.rtl_validation_output
        if path is None:
            return
        if self.timeline is None:
            name = self._request.called("rtl_validation_output")
            self.warnings.append(f"{name} is not written: in serial mode it needs an event trace or a memory profile")
            return
        with files.open("validation", path) as file:
            file.write((json_text(validation) + "\n").encode())

    def _write_profile(self, record, moved):
        request, transfers, scoreboard = self._request, record.dma_transfers, self._scoreboard
        if scoreboard is not None:
            profile = rtl_profile(scoreboard.state, scoreboard.rules, moved, transfers, request.memory_profile)
        else:
            profile = serial_profile(self._serial, moved, transfers, request.memory_profile)
        path = request.profile_output or os.path.join(os.path.dirname(request.opcode), PROFILE_NAME)
        try:
            write_whole(path, json_text(profile).encode(), "memory profile")
        except EmuError as error:
            self.warnings.append(str(error))

