"""What a run is asked to do. Light on purpose: command lines build it before anything heavy is imported."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from .errors import UsageError
from .inputs.arguments import check_names, index_of, path_of
from .inputs.choices import DEFAULT_MODEL, DMAS, MEMORY_MODELS, MOST_CHANNELS, MOST_THREADS, PROFILE_LEVELS
from .inputs.words import cut, flag_of
from .isa import REVISIONS

TYPE_CHECKING = False  # as `typing` has it, whose import --help need not wait for
if TYPE_CHECKING:
    from fractions import Fraction


_PATHS = ("opcode", "hbm", "fpsram", "intsram", "vram", "settings_path", "weight_manifest", "tables_dir", "dump_dir",
          "results", "board", "latency_profile", "dram", "memory_trace", "timing", "event_trace", "dma_event_trace",
          "event_table", "rtl_validation_output", "profile_output", "stage_profile_asm", "stage_profile_out",
          "timeline", "pc_log")
# Field that says what named a value: the field of the value.
_ORIGINS = {"settings_origin": "settings_path", "weight_manifest_origin": "weight_manifest",
            "ddr_capacity_origin": "ddr_capacity", "hbm_size_origin": "hbm_size"}
# Field: smallest value.
_COUNTS = {"hbm_size": 1, "ddr_capacity": 0, "host_bandwidth": 1, "max_instructions": 1, "hbm_channels": 1,
           "timeline_slices": 1, "pc_log_count": 1, "event_rows": 1}


@functools.cache
def _fields():
    """Make the type of the fields that are no paths."""
    from typing import Annotated, Literal

    import msgspec

    counts = [(name, Annotated[int, msgspec.Meta(ge=smallest)] | None) for name, smallest in _COUNTS.items()]
    flags = [(name, bool) for name in ("dump_hbm", "timing_only", "memo", "trace", "reference_timing", "say_unused",
                                       "from_flags", "stages", "loops", "hashes", "overlap")]
    words = [(name, str) for name in ("settings_origin", "weight_manifest_origin", "ddr_capacity_origin",
                                      "hbm_size_origin",
                                      "pc_log_from")]
    return msgspec.defstruct("Fields", [
        *counts, *flags, *words, ("isa", Literal[REVISIONS]), ("memory_model", Literal[MEMORY_MODELS] | None),
        ("threads", Annotated[int, msgspec.Meta(ge=1, le=MOST_THREADS)] | None), ("started_at", float | None),
        ("dma", Literal[DMAS]),
        ("memory_profile", Literal[PROFILE_LEVELS] | None), ("stage_profile_schema", Literal[1, 2]),
    ])


@dataclasses.dataclass(kw_only=True, repr=False)
class RunRequest:
    """One run of one program.

    Attributes
    ----------
    opcode, hbm, fpsram, intsram, vram : str, bytes, os.PathLike or None
        Program and preload files (spec §2.7, §5.1); None where it is absent. Data need `hbm` and `fpsram`. These and
        all paths below become `str`.
    settings_path : str or None
        Settings file that was named; None leaves the search order of §5.3 to the run.
    settings_origin : str
        What named it.
    hbm_size : int or None
        Bytes, in place of HBM_SIZE.
    hbm_size_origin : str
        What named them.
    isa : str
        `base` or `moe`.
    memory_model : str or None
        One of `MEMORY_MODELS`. None: `hbm`, or with a board what the board's memory calls for (§10.1); it stays None
        then until the run has opened the board.
    weight_manifest : str or None
        Manifest file; every model but `hbm` needs one.
    weight_manifest_origin : str
        What named it.
    tables_dir : str or None
        Build directory with `hbm_addrs.json`: with a board its tables stand in for a missing manifest (§6.3).
    ddr_capacity, host_bandwidth : int or None
        Bytes and bytes/s (§3.6) that were asked for; None leaves them to manifest and board, else to the defaults.
    ddr_capacity_origin : str
        What named the capacity.
    dump_dir : str or None
        Directory the dumps go to, made where it is not there; None writes none.
    dump_hbm : bool
        Whether `hbm_dump.bin` is wanted as well; it is written with the `hbm` model only (§5.4).
    results : str or None
        A compiled model's `results.json`: where dumps go, `hbm_results.bin` goes as well (§9.2).
    max_instructions : int or None
        Stop after so many executed instructions.
    timing_only : bool
        Leave out the data pass (and the dumps).
    threads : int or None
        From 2 on timing runs beside data, and independent products on all of them. None takes one for each CPU that can
        be used, 4 at most; for `timing_only` 2 where a DRAM without refresh is timed, else 1.
    memo : bool
        Whether timing remembers its answers to repeated access patterns; the figures are the same.
    trace : bool
        One debug record an executed instruction.
    stages : bool
        Whether the result says which stages, HBM regions and opcodes its time belongs to.
    loops : bool
        With `stages`, by loop as well.
    hashes : bool
        Whether the result holds the SHA-256 of every file that the run reads.
    stage_profile_asm, stage_profile_out : str or None
        Assembly text of the program, which switches the stage profile of §8.3 on, and the file the profile goes to.
    stage_profile_schema : int
        1 or 2 (§8.4, §8.5).
    overlap : bool
        Whether the overlay of §8.6 is computed; the stage profile has schema 2 then.
    timeline : str or None
        File for the timeline of the run, with gzip where its name ends in .gz.
    timeline_slices : int
        Most slices of the timeline.
    pc_log : str or None
        File for a line an executed instruction, in a window of the run.
    pc_log_from : str
        Where the window begins: `count=N`, `pc=N`, an operator, or `LAYER/OPERATOR`.
    pc_log_count : int
        Instructions of the window.
    board, dram : str or None
        Names (or files) of a board and of a DRAM part.
    latency_profile : str or None
        Name or file of a latency profile that is laid over the board.
    clock_mhz : float or None
        Core clock in place of the board's.
    ddr_speed : number, str or None
        Factor on the data rate of the board's part, or of `dram` (§10.2).
    reference_timing : bool
        With a board: cycles and DDR of §3.5 of a run without one (§10.1). Cycles are 1000 ps, with hardware timing
        CLOCK_PERIOD_PS (§7.12).
    say_unused : bool
        Whether fields that the run does not use are warnings; the drop-in keeps to the reference's records.
    from_flags : bool
        Whether the fields are the flags of a command line: messages and the record then call `ddr_speed`
        `--ddr-speed`.
    memory_trace : str or None
        File the memory accesses are written to, as a trace of `plena-emu dram`.
    dma : str or None
        `reference` (spec §3.2, §3.3), `production` (§7.2-§7.4), or None: production where `timing` is not serial.
    timing : str
        `serial`, or the name (or file) of a timing file such as `rtl-v1` (§7.6).
    hbm_channels : int or None
        Channels of hbm2 with production DMA, in place of HBM_CHANNELS.
    event_table : str or None
        File for a row an instruction on the timeline, as Parquet or CSV by the end of its name.
    event_rows : int or None
        Most rows of `event_table`, which it needs; the run goes on beyond. None: 10 million.
    event_trace, dma_event_trace, rtl_validation_output, profile_output : str or None
        Files of §7.12; the profile goes beside the program where it is asked for and none is named.
    memory_profile : str or None
        `aggregate` or `opcode`: level of the memory profile, None for none.
    progress : callable or None
        Called for each slice that all passes are through with, in order: (pc, words of the program, instructions
        executed, simulated picoseconds). The calls are the same with one thread and with two.
    started_at : float or None
        `time.perf_counter()` when the process began to work on this request; start-up time counts from there.
    """

    opcode: str = None  # type: ignore[assignment]  # left out, it is a `UsageError` instead of Python's own
    hbm: str | None = None
    fpsram: str | None = None
    intsram: str | None = None
    vram: str | None = None
    settings_path: str | None = None
    settings_origin: str = None  # type: ignore[assignment]  # left out, it is the name of the field
    hbm_size: int | None = None
    hbm_size_origin: str = None  # type: ignore[assignment]
    isa: str = "base"
    memory_model: str | None = None
    weight_manifest: str | None = None
    weight_manifest_origin: str = None  # type: ignore[assignment]
    tables_dir: str | None = None
    ddr_capacity: int | None = None
    ddr_capacity_origin: str = None  # type: ignore[assignment]
    host_bandwidth: int | None = None
    dump_dir: str | None = "."
    dump_hbm: bool = False
    results: str | None = None
    max_instructions: int | None = None
    timing_only: bool = False
    threads: int | None = None
    memo: bool = True
    trace: bool = False
    stages: bool = True
    loops: bool = False
    hashes: bool = False
    stage_profile_asm: str | None = None
    stage_profile_out: str = "stage_profile.json"
    stage_profile_schema: int = 1
    overlap: bool = False
    timeline: str | None = None
    timeline_slices: int = 200_000
    pc_log: str | None = None
    pc_log_from: str = "count=0"
    pc_log_count: int = 1000
    board: str | None = None
    latency_profile: str | None = None
    clock_mhz: float | None = None
    ddr_speed: Fraction | int | float | str | None = None
    reference_timing: bool = False
    dram: str | None = None
    say_unused: bool = True
    from_flags: bool = False
    memory_trace: str | None = None
    dma: str | None = None
    timing: str = "serial"
    hbm_channels: int | None = None
    event_table: str | None = None
    event_rows: int | None = None
    event_trace: str | None = None
    dma_event_trace: str | None = None
    rtl_validation_output: str | None = None
    profile_output: str | None = None
    memory_profile: str | None = None
    progress: Callable[[int, int, int, int], None] | None = None
    started_at: float | None = None

    def __new__(cls, *values, **fields):
        """Refuse what is no field before Python does, in words that help. Raises `UsageError`."""
        if values:
            raise UsageError(f"RunRequest: found {cut(repr(values[0]))} without a name, expected keywords: opcode=...")
        check_names((name for name in fields if name not in cls.__dataclass_fields__), cls.__dataclass_fields__)
        return super().__new__(cls)

    def __repr__(self):
        """Show what differs from the defaults."""
        usual = {"dma": self._usual_dma, "memory_model": DEFAULT_MODEL if self.board is None else None}
        usual |= {origin: self.called(name) for origin, name in _ORIGINS.items()}
        told = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self)
                if getattr(self, field.name) != usual.get(field.name, field.default))
        return f"RunRequest({', '.join(told)})"

    def __post_init__(self):
        """Check every field: the Python interface and the command lines get the same answers. Raises `UsageError`."""
        for name in _PATHS:
            setattr(self, name, path_of(name, getattr(self, name)))
        for name in _COUNTS:
            setattr(self, name, index_of(name, getattr(self, name)))
        if self.opcode is None:
            raise UsageError("opcode: found nothing, expected a path")
        if self.timing is None:
            raise UsageError("timing: found nothing, expected serial or a timing file")
        if self.dma is None:
            self.dma = self._usual_dma
        for origin, name in _ORIGINS.items():
            if getattr(self, origin) is None:
                setattr(self, origin, self.called(name))
        from .inputs.schema import misfit_of  # not before the arguments are parsed

        misfit = misfit_of({name: getattr(self, name) for name in _fields().__struct_fields__}, _fields())
        if misfit:
            raise UsageError(misfit)
        self._check_hardware()
        self._check_observers()
        if self.progress is not None and not callable(self.progress):
            raise UsageError(f"progress: found {cut(repr(self.progress))}, expected something to call")
        self._check_board_flags()
        if self.memory_model is None and self.board is None:
            self.memory_model = DEFAULT_MODEL
        if not self.timing_only and None in (self.hbm, self.fpsram):
            raise UsageError(f"a run with data needs {self.called('hbm')} and {self.called('fpsram')}")

    def called(self, name: str) -> str:
        """Name a field as whoever asked does: `--ddr-speed` on a command line, `ddr_speed` in Python."""
        return flag_of(name) if self.from_flags else name

    @property
    def has_regions(self) -> bool:
        """Whether a weight manifest, or tables that stand in for one, are there."""
        return self.weight_manifest is not None or self.tables_dir is not None

    def _check_board_flags(self):
        """Refuse what lays over a board without one, and what contradicts the reference's timing."""
        called, reference = self.called, self.called("reference_timing")
        for name in ("latency_profile", "ddr_speed", "reference_timing"):
            if getattr(self, name) not in (None, False) and self.board is None:
                raise UsageError(f"{called(name)} needs {called('board')}")
        if self.clock_mhz is not None and self.board is None and not self.is_hardware:
            raise UsageError(f"{called('clock_mhz')} needs {called('board')}, or hardware timing ({called('timing')}"
                             f" rtl-v1 or {called('dma')} production)")
        if self.clock_mhz is not None:
            from .boards.core_clock import check_clock

            check_clock(self.clock_mhz, called("clock_mhz"))
        if self.ddr_speed is not None:
            from .boards.dram_speed import speed_factor

            self.ddr_speed = speed_factor(self.ddr_speed, called("ddr_speed"))
        if self.reference_timing and self.clock_mhz is not None:
            raise UsageError(f"{called('clock_mhz')}: not with {reference}, which counts core cycles as without a"
                             " board")
        if self.reference_timing and self.ddr_speed is not None:
            raise UsageError(f"{called('ddr_speed')}: not with {reference}, which leaves the board's part out")

    @property
    def _usual_dma(self):
        return "reference" if self.timing == "serial" else "production"

    def _check_hardware(self):
        """Refuse what only hardware timing has without it."""
        channels = self.hbm_channels
        if channels is not None and (channels > MOST_CHANNELS or channels & (channels - 1)):
            raise UsageError(f"{self.called('hbm_channels')}: found {channels}, expected a power of two from 1 to"
                             f" {MOST_CHANNELS}")
        production = f"production DMA ({self.called('dma')} production)"
        if self.dma != "production":
            for name, value in ((self.called("hbm_channels"), self.hbm_channels),
                                ("a memory profile", self.memory_profile)):
                if value is not None:
                    raise UsageError(f"{name} needs {production}")
        elif self.memory_trace is not None:
            raise UsageError(f"a memory trace needs reference DMA ({self.called('dma')} reference): its replay knows no"
                             " lines")
        if self.memory_profile is None and self.profile_output is not None:
            raise UsageError("profile_output needs memory_profile")
        if self.event_table is not None and not self.event_table.endswith((".parquet", ".csv")):
            raise UsageError(f"{self.called('event_table')} {self.event_table}: expected a name that ends in .parquet"
                             " or .csv")
        if self.event_rows is not None and self.event_table is None:
            raise UsageError(f"{self.called('event_rows')} needs {self.called('event_table')}")
        outputs = ("event_table", "event_trace", "dma_event_trace", "rtl_validation_output")
        for name in outputs if not self.is_hardware else ():
            if getattr(self, name) is not None:
                raise UsageError(f"{self.called(name)} needs hardware timing ({self.called('timing')} rtl-v1 or"
                                 f" {self.called('dma')} production)")

    def _check_observers(self):
        """Refuse what cannot watch one run together, and chapter 8 where the reference does not have it."""
        if self.pc_log is not None and (self.trace or self.timeline is not None or self.overlap):
            raise UsageError("pc_log: not together with timeline, overlap or a record an instruction, which see every"
                             " instruction anyway")
        if self.stage_profile_asm is None and not self.overlap:
            return
        name = "overlap" if self.overlap else "stage_profile_asm"
        asked = "--experimental-overlap-prefetch-compute" if self.overlap and self.from_flags else self.called(name)
        if self.isa != "moe":
            raise UsageError(f"{asked} needs {self.called('isa')} moe: no other revision of the reference has it")
        if self.is_hardware:
            raise UsageError(f"{asked}: not with hardware timing, no line of the reference has both")
        if self.board is not None and not self.reference_timing:
            raise UsageError(f"{asked}: not in a board's time, its cycles are 1000 ps: give"
                             f" {self.called('reference_timing')} as well")

    @property
    def is_hardware(self) -> bool:
        """Whether spec chapter 7 applies: production DMA, or a timeline."""
        return self.dma == "production" or self.timing != "serial"
