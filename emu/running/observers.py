"""What is found out about a run besides its figures: stages, timeline, stage profile, overlap overlay.

Everything else is imported where it was asked for: the drop-in mostly asks for none of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..atomic_files import whole_file, write_whole
from ..errors import EmuError, UsageError
from ..logs import RUNNER, Log
from ..machine.core import Machine
from ..manifests.footprint import footprint
from ..manifests.schema import Manifest
from ..memory.ledger import new_ledger
from ..program.decode import Program
from ..request import RunRequest
from ..result import RunResult
from .clock import Clock

if TYPE_CHECKING:
    from ..config.settings import Settings
    from .attribution.accounts import Bookkeeping
    from .attribution.expert_stages import ExpertLabels
    from .attribution.labels import Labels
    from .attribution.overlap import Overlap
    from .attribution.timeline_file import Timeline
    from .pc_log import Window
    from .timeline.unit_timeline import UnitTimeline

Watch = Callable[[np.ndarray, np.ndarray], None]
RECORDED_POINTS = 400  # of the bandwidth in the record of a run
MOST_UNCLASSIFIED = 0.5  # of the labels, before schema 2 warns


class Observers:
    """Whoever watches a run, by what was asked for.

    Parameters
    ----------
    request : RunRequest
    program : Program
    manifest : Manifest
        Of the memory model.
    period_ps : int
        A core cycle.
    log : Log

    Raises
    ------
    EmuError
        A file that names stages is malformed or cannot be read.
    """

    def __init__(self, request: RunRequest, program: Program, manifest: Manifest, period_ps: int, log: Log):
        self._period_ps = period_ps
        self._manifest = manifest
        self._request = request
        self._program = program
        self._log = log
        self._books: Bookkeeping | None = None
        self._labels: ExpertLabels | None = None
        if request.stages or request.timeline is not None or request.pc_log is not None:
            from .attribution.accounts import Bookkeeping

            self._books = Bookkeeping(program, manifest, request.opcode)
        if request.stage_profile_asm is not None:
            self._labels = self._read_labels()
        self._overlap: Overlap | None = None
        self._timeline: Timeline | None = None
        self.units = self._open_units()
        self.ledger = self._new_ledger()

    def _open_units(self) -> UnitTimeline | None:
        """Open the timeline file's units, which a hardware timeline feeds; None without one."""
        if self._request.timeline is None or self._request.timing == "serial":
            return None
        from .timeline.unit_timeline import UnitTimeline

        self._timeline = UnitTimeline(self._program, self._open_books.labels, self._request.timeline_slices,
                                      self._period_ps)
        self._check_slices(self._timeline)
        return self._timeline

    def _check_slices(self, timeline):
        """Refuse, before anything runs, a bound that no merging could keep."""
        most = self._request.timeline_slices
        if most < timeline.least:
            raise UsageError(f"{self._request.called('timeline_slices')} {most}: expected at least {timeline.least}: a"
                             " slice for each stage on each track")

    def _new_ledger(self):
        """The ledger that the run keeps, None where nobody asks for figures by instruction."""
        if self._books is not None:
            return self._books.ledger
        return new_ledger(len(self._program), ()) if self._labels is not None or self.need_trace else None

    def _read_labels(self):
        """Labels of §8.2, with the warnings about them."""
        from ..inputs.text import read_text
        from .attribution.expert_stages import OTHER, read_labels
        from .attribution.stage_profile import unclassified

        labels = read_labels(read_text(self._request.stage_profile_asm, "assembly", "--stage-profile-asm"))
        count, words = len(labels.labels), len(self._program)
        if count != words:
            self._log.warn("The stage profile's assembly text is not that of the program", RUNNER, labels=count,
                           expected_ops=words)
        others = unclassified(labels)
        if self._schema == 2 and labels.has_markers and count and others > MOST_UNCLASSIFIED * count:
            self._log.warn(f"Most labels of the stage profile are {OTHER}", RUNNER, unclassified=others, labels=count,
                           fraction=f"{others / count:.3f}")
        return labels

    @property
    def _open_books(self) -> Bookkeeping:
        """The books of a run whose request needs them."""
        assert self._books is not None
        return self._books

    @property
    def _schema(self):
        return 2 if self._request.overlap else self._request.stage_profile_schema

    @property
    def need_trace(self) -> bool:
        """Whether somebody has to see every executed instruction."""
        return self._request.overlap or (self._request.timeline is not None and self.units is None)

    @property
    def labels(self) -> Labels | None:
        """The stages of the program, where the result says where its time went."""
        return self._open_books.labels if self._request.stages else None

    def start(self, machine: Machine) -> Watch | None:
        """Get ready to watch a machine: what takes in each slice, None where nobody watches."""
        if not self.need_trace:
            return None
        clock = Clock(self._program)
        watching: list[Overlap | Timeline] = []
        if self._request.overlap:
            from .attribution.overlap import Overlap

            self._overlap = Overlap(self._program, machine.cfg, machine.descriptors)
            watching.append(self._overlap)
        if self._request.timeline is not None and self.units is None:
            from .attribution.timeline_file import Timeline

            self._timeline = Timeline(self._program, self._open_books.labels, self._request.timeline_slices,
                                      self.ledger)
            self._check_slices(self._timeline)
            watching.append(self._timeline)

        def watch(executed, events):
            durations = clock.durations(executed, events)
            for observer in watching:
                observer.watch(executed, durations, events)

        return watch

    def tell(self, progress: object) -> None:
        """Tell whoever shows progress what is known of the program, if it wants to know: a method `begin`."""
        begin = getattr(progress, "begin", None)
        if begin is not None:
            from .attribution.loops import static_total

            begin(self._stages, static_total(self._program.table))

    def _stages(self) -> Labels | None:
        """The stages of the program for whoever shows progress; None where its files are malformed."""
        from ..config.build_dir import build_of
        from .attribution.labels import labels_of

        if self._books is not None:
            return self._books.labels
        try:
            return labels_of(self._program, build_of(self._request.opcode))
        except EmuError:
            return None  # nobody asked for stages: the run goes on

    @contextlib.contextmanager
    def window(self, settings: Settings) -> Iterator[Window | None]:
        """Context of the part of the run whose instructions are logged, None where nobody asked; the log is whole or
        not there.

        Raises
        ------
        EmuError
            The program never comes to where the window begins, or the file cannot be written.
        """
        request = self._request
        if request.pc_log is None:
            yield None
            return
        from .pc_log import PcLog, Window, first_word, parse_start
        from .scout import instructions_before

        start, labels = parse_start(request.pc_log_from), self._open_books.labels
        first = start.count
        if first is None:
            word = first_word(start, labels, len(self._program))
            first = instructions_before(self._program, settings, request.intsram, word)
        with whole_file(request.pc_log, "--pc-log") as file:
            yield Window(PcLog(file, self._program, labels), first, request.pc_log_count)

    def finish(self, result: RunResult, machine: Machine) -> None:
        """Add what was found to the result, and write the files that were asked for.

        Raises
        ------
        EmuError
            A file cannot be written.
        """
        counts = machine.control.counts
        if self._request.stages:
            result.stages = self._open_books.accounts(machine.cfg, counts, result.dram_statistics is not None).table(
                self._period_ps, self._request.loops)
        if self._overlap is not None:
            result.overlap = self._overlap.figures(result.end_ps)
            figures = " ".join(f"{name}={getattr(result.overlap, name)}" for name in result.overlap.__struct_fields__)
            self._log.info(f"Experimental overlap prefetch/compute timing overlay {figures}", RUNNER)
        if self._labels is not None:
            self._write_stage_profile(counts, result.end_ps)
        if self._timeline is not None:
            self._write_timeline(result)

    def _write_timeline(self, result):
        from ..result import TimelineFile
        from .attribution.timeline_file import write_timeline

        path = self._request.timeline
        about = {"program": result.program.path, "model": result.model, "regime": result.regime,
                 "latency_ps": result.latency_ps, "end_ps": result.end_ps,
                 "core_period_ps": self._period_ps, "time_basis": result.time_basis,
                 "board": result.board and result.board.name, "clock_mhz": result.board and result.board.clock_mhz}
        if result.regime == "resident":  # every region lies in the DDR (§3.9)
            self._timeline.held_bytes = footprint(self._manifest.regions).total
        table = self._timeline.slices()
        with whole_file(path, "--timeline") as file:
            write_timeline(self._timeline, file, path.endswith(".gz"), about)
        result.timeline = TimelineFile(path=path, slices=len(table) + len(self._timeline.layers(table)),
                                       bucket_ps=self._timeline.bucket_ps,
                                       bandwidth=self._timeline.bandwidth(RECORDED_POINTS))
        self._log.info("Wrote timeline", RUNNER, path=path, slices=result.timeline.slices)

    def _write_stage_profile(self, counts, end_ps):
        import json

        from .attribution.stage_profile import stage_profile

        found = stage_profile(self._schema, self._labels, self._program, counts, self.ledger, end_ps)
        path = self._request.stage_profile_out
        write_whole(path, json.dumps(found, indent=2).encode() + b"\n", "--stage-profile-out")
        self._log.info("wrote runtime stage profile", RUNNER, path=path)
