"""What `plena-emu bench` measured: one typed, JSON-ready tree. Every figure carries its unit in its name."""

import importlib.metadata
import math
import os
import platform
import statistics
import time
from itertools import accumulate
from typing import Annotated

import msgspec

from .. import __version__
from ..errors import EmuError
from ..inputs.documents import parse_json
from ..inputs.schema import convert
from ..inputs.text import read_text
from ..inputs.words import shown
from ..result import FORMATS, to_json

FORMAT = f"plena-emu bench {FORMATS['bench']}"
KERNEL_MODES = ("data", "timing-only")
PROCESS = "process"
MODES = (*KERNEL_MODES, PROCESS)
PHASES = ("startup", "load", "simulate", "dump")  # of a run in this process
COUNTED_ABOVE = 100_000  # instructions of a program that counts for a geometric mean
BUSY = 0.5  # load average above which figures are doubtful


Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Machine(msgspec.Struct, kw_only=True):
    """The machine and the versions behind the figures; `load_average` over 1, 5 and 15 minutes before the first run."""

    cpu: str
    cores: int
    usable_cores: int
    memory_bytes: int
    architecture: str
    kernel: str
    load_average: tuple[float, float, float]
    versions: dict[str, str]


class Timing(msgspec.Struct, kw_only=True):
    """Seconds of every repetition, their median, and the median distance from it."""

    samples_s: list[Seconds]
    median_s: Seconds
    mad_s: Seconds


class Figure(msgspec.Struct, kw_only=True):
    """One program on one memory model in one mode.

    `wall` holds the phases of a run in this process, or `process` alone. `cycles` are core cycles of 1000 ps. Rates
    and `speedup` are those of the phase `headline` names. `reference_s` is what the reference executable takes for the
    same, None where that was not measured. `instructions` and `peak_memory_bytes` are None where they are not known.
    """

    program: str
    golden: bool
    isa: str
    model: str
    mode: str
    instructions: int | None
    latency_ps: int
    cycles: float
    wall: dict[str, Timing]
    peak_memory_bytes: int | None = None
    instructions_per_s: float | None
    cycles_per_s: float
    reference_s: float | None = None
    speedup: float | None = None

    @property
    def headline(self) -> str:
        """The phase that is compared with the reference."""
        return PROCESS if self.mode == PROCESS else "simulate"


class SideBySide(msgspec.Struct, kw_only=True):
    """The drop-in (`own`) and another executable on the same program in the same turns: whole processes.

    `ratio` is the reference's time over the own; `net_ratio` the same with each one's start-up taken off, None where
    that is within noise.
    """

    program: str
    model: str
    instructions: int | None
    own: Timing
    reference: Timing
    own_startup: Timing
    reference_startup: Timing
    ratio: float
    net_ratio: float | None
    own_peak_bytes: int | None = None
    reference_peak_bytes: int | None = None


class GrowthPoint(msgspec.Struct, kw_only=True):
    """A timing-only run of a model cut to `layers`, with a prompt of `tokens`; `accesses` are of 64 bytes.

    `control` and `timing` are the parts of `simulate` in the kernels of those passes. Time per unit of work is that of
    the fastest run: what else the machine does can only add to it.
    """

    layers: int
    tokens: int
    instructions: int
    accesses: int
    simulate: Timing
    control: Timing
    timing: Timing

    @property
    def control_ns(self) -> float:
        """Nanoseconds of the control pass per executed instruction."""
        return 1e9 * min(self.control.samples_s) / self.instructions

    @property
    def timing_ns(self) -> float:
        """Nanoseconds of the timing pass per 64-byte access."""
        return 1e9 * min(self.timing.samples_s) / self.accesses


class Growth(msgspec.Struct, kw_only=True):
    """How the time of a model grows with `grows`: `layers` or `tokens`."""

    model: str
    preset: str
    memory_model: str
    grows: str
    points: list[GrowthPoint]

    def rise(self, what: str) -> float:
        """Work out by how much `control_ns` or `timing_ns` rises at most from a point to any larger one: 0.2 is 20 %.

        Returns
        -------
        float
        """
        return _rise([getattr(point, what) for point in self.points])

    def fall(self, what: str) -> float:
        """Work out by how much it falls at most from a point to any larger one: 0.2 is a fall by 20 %.

        Returns
        -------
        float
        """
        return 1 - 1 / (1 + _rise([getattr(point, what) for point in self.points[::-1]]))


def _rise(values):
    """Compare every value with the smallest of those up to it."""
    return max(value / smallest for value, smallest in zip(values, accumulate(values, min), strict=True)) - 1


class Mean(msgspec.Struct, kw_only=True):
    """Geometric mean of the speed-ups of `programs` figures, and the smallest; model `all` takes every model."""

    mode: str
    model: str
    programs: int
    speedup: float
    smallest: float


class BenchRecord(msgspec.Struct, kw_only=True):
    """Result of one benchmark: `kernel` has the figures of runs in one process, `process` those of whole processes.

    `command` holds the words of the command line, `reference` the executable of `side_by_side`.
    """

    format: str = FORMAT
    command: list[str] = []
    started: str
    machine: Machine
    runs: int
    kernel: list[Figure]
    process: list[Figure]
    means: list[Mean]
    notes: list[str]
    reference: str | None = None
    side_by_side: list[SideBySide] = []
    growth: list[Growth] = []

    def to_json(self) -> str:
        """Write the whole record as JSON text.

        Returns
        -------
        str
        """
        return to_json(self).decode()


def read_record(path: str) -> BenchRecord:
    """Read the record in the JSON file `path`; raises `EmuError` when it holds none.

    Returns
    -------
    BenchRecord
    """
    where = f"benchmark {path}"
    data = parse_json(read_text(path, "benchmark"), where)
    if isinstance(data, dict) and data.get("format") != FORMAT:
        found = shown(data["format"]) if "format" in data else "nothing"
        raise EmuError(f"{where}: format: found {found}, expected {FORMAT}, a result of plena-emu bench")
    return convert(data, BenchRecord, where)


def timing(samples: list[float]) -> Timing:
    """Work out median and spread of at least one sample in seconds.

    Returns
    -------
    Timing
    """
    median = statistics.median(samples)
    return Timing(samples_s=list(samples), median_s=median,
                  mad_s=statistics.median(abs(sample - median) for sample in samples))


def figure(*, mode: str, latency_ps: int, instructions: int | None, wall: dict[str, list[float]],
           reference_s: float | None, **more) -> Figure:
    """Make a `Figure` of samples in seconds by phase, with rates and speed-up worked out.

    Returns
    -------
    Figure
    """
    made = Figure(mode=mode, latency_ps=latency_ps, cycles=latency_ps / 1000, instructions=instructions,
                  wall={phase: timing(samples) for phase, samples in wall.items()},
                  instructions_per_s=None, cycles_per_s=0.0, reference_s=reference_s, **more)
    seconds = made.wall[made.headline].median_s
    if instructions is not None:
        made.instructions_per_s = instructions / seconds
    made.cycles_per_s = made.cycles / seconds
    if reference_s is not None:
        made.speedup = reference_s / seconds
    return made


def means(figures: list[Figure]) -> list[Mean]:
    """Work out geometric means by mode and model; whole processes of several models also together.

    Only golden programs with a reference and more than `COUNTED_ABOVE` instructions count.

    Returns
    -------
    list of Mean
    """
    counted = [found for found in figures
               if found.golden and found.speedup is not None and (found.instructions or 0) > COUNTED_ABOVE]
    groups: dict[tuple[str, str], list] = {}
    for found in counted:
        groups.setdefault((found.mode, found.model), []).append(found.speedup)
    processes = {model: speedups for (mode, model), speedups in groups.items() if mode == PROCESS}
    if len(processes) > 1:
        groups[PROCESS, "all"] = [speedup for speedups in processes.values() for speedup in speedups]
    return [Mean(mode=mode, model=model, programs=len(speedups), smallest=min(speedups),
                 speedup=math.exp(statistics.fmean(map(math.log, speedups))))
            for (mode, model), speedups in groups.items()]


def now() -> str:
    """Write the present instant: UTC, to the second.

    Returns
    -------
    str
    """
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def this_machine() -> Machine:
    """Describe this machine, with its load at this moment.

    Returns
    -------
    Machine
    """
    versions = {name: importlib.metadata.version(name) for name in ("numba", "llvmlite", "numpy")}
    return Machine(
        cpu=_first("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        cores=os.cpu_count() or 1,
        usable_cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        architecture=platform.machine(),
        kernel=f"{platform.system()} {platform.release()}",
        load_average=os.getloadavg(),
        versions={"plena-emu": __version__, "python": platform.python_version()} | versions,
    )


def _first(path, key):
    """Find the value of the first `key : value` line of a file, None without one."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith(key)), None)
    except OSError:
        return None
