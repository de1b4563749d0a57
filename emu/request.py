"""What a run is asked to do. Light on purpose: command lines build it before anything heavy is imported."""

import dataclasses
import functools
import operator
import os
from collections.abc import Callable

from .errors import UsageError
from .inputs.words import cut, shown
from .isa import REVISIONS

MEMORY_MODELS = ("hbm", "layer-swap", "host-stream", "auto", "resident", "kv-swap", "weight-stream")
_U64_MAX = 2**64 - 1
DMAS = ("reference", "production")
PROFILE_LEVELS = ("aggregate", "opcode")
DEFAULT_DDR_CAPACITY = 512 * 2**20
DEFAULT_HOST_BANDWIDTH = 60_000_000

_PATHS = ("opcode", "hbm", "fpsram", "intsram", "vram", "settings_path", "weight_manifest", "tables_dir", "dump_dir",
          "results", "board", "latency_profile", "dram", "memory_trace", "timing", "event_trace", "dma_event_trace",
          "rtl_validation_output", "profile_output")
# Field: smallest value.
_COUNTS = {"hbm_size": 1, "ddr_capacity": 0, "host_bandwidth": 1, "max_instructions": 1, "hbm_channels": 1}


def path_of(name: str, value: object) -> str | None:
    """Take a path (or a name) as text; None stays None. Raises `UsageError`.

    Returns
    -------
    str or None
    """
    if value is None:
        return None
    try:
        text = os.fsdecode(value)  # type: ignore[arg-type]
    except TypeError:
        text = ""
    if not text or "\0" in text:
        raise UsageError(f"{name}: found {cut(repr(value))}, expected a path")
    return text


def _count(name, value):
    """Take anything that counts as an integer, as those of numpy do, for an int; leave the rest as it is."""
    if isinstance(value, bool):
        return value
    try:
        number = operator.index(value)
    except TypeError:
        return value
    if number > _U64_MAX:
        raise UsageError(f"{name}: found {shown(number)}, expected at most {_U64_MAX}")
    return number


def count_of(name: str, value: object, smallest: int) -> int | None:
    """Take a count of at least `smallest`, or None. Raises `UsageError`.

    Returns
    -------
    int or None
    """
    number = _count(name, value)
    if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < smallest):
        raise UsageError(f"{name}: found {shown(value)}, expected an integer from {smallest}")
    return number


@functools.cache
def _fields():
    """Make the type of the fields that are no paths."""
    from typing import Annotated, Literal

    import msgspec

    counts = [(name, Annotated[int, msgspec.Meta(ge=smallest)] | None) for name, smallest in _COUNTS.items()]
    flags = [(name, bool) for name in ("dump_hbm", "timing_only", "memo", "trace")]
    return msgspec.defstruct("Fields", [
        *counts, *flags, ("isa", Literal[REVISIONS]), ("memory_model", Literal[MEMORY_MODELS]),
        ("threads", Literal[1, 2] | None), ("started_at", float | None), ("dma", Literal[DMAS]),
        ("memory_profile", Literal[PROFILE_LEVELS] | None),
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
    isa : str
        `base` or `moe`.
    memory_model : str
        One of `MEMORY_MODELS`.
    weight_manifest : str or None
        Manifest file; every model but `hbm` needs one.
    tables_dir : str or None
        Build directory with `hbm_addrs.json`: with a board its tables stand in for a missing manifest (§6.3).
    ddr_capacity, host_bandwidth : int or None
        Bytes and bytes/s (§3.6) that were asked for; None leaves them to manifest and board, else to the defaults.
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
        1 or 2 (timing beside data); None takes 2 where two CPUs can be used, 1 for
        `timing_only`.
    memo : bool
        Whether timing remembers its answers to repeated access patterns; the figures are the same.
    trace : bool
        One debug record an executed instruction.
    board, dram : str or None
        Names (or files) of a board and of a DRAM part.
    latency_profile : str or None
        Name or file of a latency profile that is laid over the board.
    memory_trace : str or None
        File the memory accesses are written to, as a trace of `plena-emu dram`.
    dma : str or None
        `reference` (spec §3.2, §3.3), `production` (§7.2-§7.4), or None: production where `timing` is not serial.
    timing : str
        `serial`, or the name (or file) of a timing file such as `rtl-v1` (§7.6).
    hbm_channels : int or None
        Channels of hbm2 with production DMA, in place of HBM_CHANNELS.
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

    opcode: str
    hbm: str | None = None
    fpsram: str | None = None
    intsram: str | None = None
    vram: str | None = None
    settings_path: str | None = None
    settings_origin: str = "--settings"
    hbm_size: int | None = None
    isa: str = "base"
    memory_model: str = "hbm"
    weight_manifest: str | None = None
    tables_dir: str | None = None
    ddr_capacity: int | None = None
    host_bandwidth: int | None = None
    dump_dir: str | None = "."
    dump_hbm: bool = False
    results: str | None = None
    max_instructions: int | None = None
    timing_only: bool = False
    threads: int | None = None
    memo: bool = True
    trace: bool = False
    board: str | None = None
    latency_profile: str | None = None
    dram: str | None = None
    memory_trace: str | None = None
    dma: str | None = None
    timing: str = "serial"
    hbm_channels: int | None = None
    event_trace: str | None = None
    dma_event_trace: str | None = None
    rtl_validation_output: str | None = None
    profile_output: str | None = None
    memory_profile: str | None = None
    progress: Callable[[int, int, int, int], None] | None = None
    started_at: float | None = None

    def __repr__(self):
        """Show what differs from the defaults."""
        told = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self)
                if getattr(self, field.name) != (self._usual_dma if field.name == "dma" else field.default))
        return f"RunRequest({', '.join(told)})"

    def __post_init__(self):
        """Check every field: the Python interface and the command lines get the same answers. Raises `UsageError`."""
        for name in _PATHS:
            setattr(self, name, path_of(name, getattr(self, name)))
        for name in _COUNTS:
            setattr(self, name, _count(name, getattr(self, name)))
        if self.opcode is None:
            raise UsageError("opcode: found nothing, expected a path")
        if self.timing is None:
            raise UsageError("timing: found nothing, expected serial or a timing file")
        if self.dma is None:
            self.dma = self._usual_dma
        from .inputs.schema import misfit_of  # not before the arguments are parsed

        misfit = misfit_of({name: getattr(self, name) for name in _fields().__struct_fields__}, _fields())
        if misfit:
            raise UsageError(misfit)
        self._check_hardware()
        if self.progress is not None and not callable(self.progress):
            raise UsageError(f"progress: found {cut(repr(self.progress))}, expected something to call")
        if self.latency_profile is not None and self.board is None:
            raise UsageError("--latency-profile needs --board")
        if not self.timing_only and None in (self.hbm, self.fpsram):
            raise UsageError("a run with data needs --hbm and --fpsram")

    @property
    def _usual_dma(self):
        return "reference" if self.timing == "serial" else "production"

    def _check_hardware(self):
        """Refuse what only hardware timing has without it."""
        if self.dma != "production":
            for name, value in (("--hbm-channels", self.hbm_channels), ("a memory profile", self.memory_profile)):
                if value is not None:
                    raise UsageError(f"{name} needs production DMA (--dma production)")
        elif self.memory_trace is not None:
            raise UsageError("a memory trace needs reference DMA (--dma reference): its replay knows no lines")
        if self.memory_profile is None and self.profile_output is not None:
            raise UsageError("profile_output needs memory_profile")
        outputs = ("event_trace", "dma_event_trace", "rtl_validation_output")
        for name in outputs if not self.is_hardware else ():
            if getattr(self, name) is not None:
                raise UsageError(f"{name} needs hardware timing (--timing rtl-v1 or --dma production)")

    @property
    def is_hardware(self) -> bool:
        """Whether spec chapter 7 applies: production DMA, or a timeline."""
        return self.dma == "production" or self.timing != "serial"
