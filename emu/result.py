"""What a run found out: one typed, JSON-ready tree. Every figure carries its unit in its name."""

from __future__ import annotations

import json
import os

import msgspec


class Program(msgspec.Struct, kw_only=True):
    """The program that ran, in words."""

    path: str
    words: int
    invalid_words: int = 0
    foreign_words: int = 0


class Sources(msgspec.Struct, kw_only=True):
    """Which files decided about the run, and what named them."""

    settings: str
    settings_origin: str
    weight_manifest: str | None = None
    hbm: str | None = None
    fpsram: str | None = None
    intsram: str | None = None
    vram: str | None = None
    board: str | None = None
    dram: str | None = None


class MemoryLimits(msgspec.Struct, kw_only=True):
    """DDR capacity and host bandwidth of a memory model, and where each came from; None where it plays no part."""

    ddr_capacity_bytes: int | None = None
    ddr_capacity_from: str | None = None
    host_bandwidth_bytes_per_s: int | None = None
    host_bandwidth_from: str | None = None


class SettingChange(msgspec.Struct, kw_only=True):
    """A value of the settings that the board replaced."""

    key: str
    before: int | None
    after: int


class TileStatus(msgspec.Struct, kw_only=True):
    """What the board's tile hints say of the program's geometry at a batch size."""

    batch: int
    status: str


class LaidOver(msgspec.Struct, kw_only=True):
    """A value of the board that a flag replaced; `before` is None where the board has none."""

    flag: str
    before: str | None
    after: str


class PartRecord(msgspec.Struct, kw_only=True):
    """The memory part behind a run on a board: peak bytes/s of row hits, and the part of the time it refreshes."""

    name: str
    file: str
    named_by: str
    peak_bytes_per_s: float
    refresh_share: float


class BoardRecord(msgspec.Struct, kw_only=True):
    """The board of a run and what it decided (§6.2, §10.1).

    `core_period_ps` is what a core cycle was counted as; it is not exact where the clock's period is no whole number of
    ps. `part` is None where the idealised DDR of §3.5, or chapter 4's hbm2, stood in for the board's memory.
    `changes` are values of the settings that the board replaced, `laid_over` values of the board that flags replaced.
    """

    name: str
    file: str
    latency_profile: str | None = None
    clock_mhz: float
    core_period_ps: int
    core_period_exact: bool
    part: PartRecord | None = None
    changes: list[SettingChange]
    laid_over: list[LaidOver]
    tile_hints: list[TileStatus]


class Geometry(msgspec.Struct, kw_only=True):
    """Geometry of §1.1 as it was used; sizes as in the settings, `hbm_size` in bytes."""

    mlen: int
    vlen: int
    hlen: int
    blen: int
    broadcast: int
    matrix_sram_size: int
    vector_sram_size: int
    hbm_size: int
    matrix_prefetch_rows: int
    vector_prefetch_rows: int
    vector_writeback_rows: int


class Dump(msgspec.Struct, kw_only=True):
    """One dump file: its logical length, whatever it occupies on disk."""

    name: str
    path: str
    bytes: int


class Dropped(msgspec.Struct, kw_only=True):
    """What the machine drops without a word (§1.7, §3.2)."""

    vector_rows: int = 0
    hbm_bytes_read_outside: int = 0


class Wall(msgspec.Struct, kw_only=True):
    """Seconds of the host."""

    startup_s: float = 0.0
    load_s: float = 0.0
    simulate_s: float = 0.0
    dump_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.startup_s + self.load_s + self.simulate_s + self.dump_s


class HardwareTiming(msgspec.Struct, kw_only=True):
    """What hardware timing adds (spec chapter 7).

    `timing` is `serial` or the name of the timing file `timing_file`, `dma` `reference` or `production`.
    `serial_latency_ps` is the latency of the serial run, whatever the headline is. `timeline` is the timeline object
    of §7.11 (None in serial mode), `dma_transfers` what the DMAs moved (None with reference DMA).
    """

    timing: str
    timing_file: str | None = None
    dma: str
    clock_period_ps: int
    hbm_channels: int
    serial_latency_ps: int
    timeline: dict | None = None
    dma_transfers: dict[str, int] | None = None


class RunResult(msgspec.Struct, kw_only=True):
    """Result record of one run.

    `format` names the form of the record, with a number that rises when it changes; `command` holds the words of the
    command line, none for a run from Python. `time_basis` says what times are (§10.1): `board`, or `reference` without
    a board and with `--reference-timing`. `latency_ps` and `end_ps` are those of §3.1, but with a timeline
    `latency_ps` is its makespan (§7.6). `cycles` is latency in core cycles: of 1000 ps, on a board and with hardware
    timing (`hardware`, None without it) of the run's own. `compute_ps` + `memory_ps` = `end_ps`, and with
    `housekeeping_ps`, which is pending after the last instruction, the serial latency; `timeline_ps` is what a timeline
    adds to that, less than 0 where more overlaps than stalls. `board_time_ps` and `board_time_ms` repeat the latency
    on a board, else they are None. `link_busy_ps` is the time that transfers over the host link took. `regime` is the
    regime a model settled on (`auto` chooses one).
    `model_line` is the model's own statistics line (§3.7 - §3.9), None where it has none; `model_statistics` the same
    as values; `dram_statistics` are those of a DRAM controller (§4.8), `memo` says how often timing remembered an
    answer. `limits` is None for `hbm`, `board` without a board. `dump_errors` says in one line which dump
    could not be written; then none of the run is there.
    """

    format: str = "plena-emu run 2"
    command: list[str] = []
    isa: str
    program: Program
    sources: Sources
    geometry: Geometry
    model: str
    regime: str | None = None
    limits: MemoryLimits | None = None
    board: BoardRecord | None = None
    time_basis: str = "reference"
    board_time_ps: int | None = None
    board_time_ms: float | None = None
    latency_ps: int
    end_ps: int
    cycles: float
    compute_ps: int
    memory_ps: int
    housekeeping_ps: int = 0
    timeline_ps: int = 0
    link_busy_ps: int = 0
    hardware: HardwareTiming | None = None
    instructions: int
    instruction_counts: dict[str, int]
    bytes_read: int
    bytes_written: int
    utilization_bytes_per_s: float
    model_statistics: dict[str, int | str] = {}
    model_line: str | None = None
    memo: dict[str, int | bool] | None = None
    dram_statistics: dict | None = None
    dropped: Dropped
    dumps: list[Dump] = []
    dump_errors: list[str] = []
    wall: Wall
    instructions_per_s: float
    timing_only: bool = False
    stopped_by_max_instructions: bool = False
    warnings: list[str] = []
    versions: dict[str, str]

    def __repr__(self):
        """Say what ran and how long it took; `to_json` has everything."""
        on = self.model if self.regime in (None, self.model) else f"{self.model} ({self.regime})"
        return (f"<RunResult {os.path.basename(self.program.path)} on {on}: {nanoseconds(self.latency_ps)} ns,"
                f" {self.instructions:,} instructions>")

    def to_json(self) -> str:
        """Write the whole record as JSON text.

        Returns
        -------
        str
        """
        return to_json(self).decode()


# Format numbers of the JSON records that are the product's own; each rises with a change that readers must know of.
FORMATS = {"run": 2, "bench": 1, "plan": 1, "profile": 1, "dram": 1, "manifest": 1, "boards": 1, "board": 1,
           "compile": 1, "check": 1, "estimate": 1}


def record_json(kind: str, content: object, command: list[str]) -> bytes:
    """Write a result record as JSON text: its format, the command line that made it, and what it found.

    Parameters
    ----------
    kind : str
        A key of `FORMATS`.
    content
        A msgspec struct or a dict, without the keys `format` and `command`.
    command : list of str
        Words of the command line; empty where there was none.

    Returns
    -------
    bytes
    """
    return to_json({"format": f"plena-emu {kind} {FORMATS[kind]}", "command": command} | msgspec.to_builtins(content))


def to_json(content: object) -> bytes:
    """Write indented JSON text; bytes of paths that are no UTF-8 are lone surrogates, escaped.

    Returns
    -------
    bytes
    """
    try:
        return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(content), indent=2).encode() + b"\n"


def utilization(bytes_read: int, bytes_written: int, end_ps: int) -> float:
    """Work out the bytes a second over the run (§3.10); 0 for a run that ends at time 0.

    Returns
    -------
    float
    """
    return (bytes_read + bytes_written) / (end_ps / 1e12) if end_ps else 0.0


def scientific(value: float) -> str:
    """Write a number as `5.22e9`: two decimals, no plus sign, no zero padding (§3.10).

    Returns
    -------
    str
    """
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def hbm_statistics(result: RunResult) -> str:
    """Write the byte statistics of §3.10, with the model's own line below where it has one.

    Returns
    -------
    str
    """
    line = (f"HBM Statistics - Bytes read: {result.bytes_read} | Bytes written: {result.bytes_written}"
            f" | Utilization: {scientific(result.utilization_bytes_per_s)} bytes/sec")
    return f"{line}\n{result.model_line}" if result.model_line else line


def nanoseconds(picoseconds: int) -> str:
    """Write nanoseconds with exactly three decimals, exact for any integer.

    Returns
    -------
    str
    """
    return f"{picoseconds // 1000}.{picoseconds % 1000:03d}"
