"""What a run found out: one typed, JSON-ready tree. Every figure carries its unit in its name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from .cycle_table import CycleTable, named, places_of

if TYPE_CHECKING:
    import pandas


class Program(msgspec.Struct, kw_only=True):
    """The program that ran, in words."""

    path: str
    words: int
    invalid_words: int = 0
    foreign_words: int = 0


class Sources(msgspec.Struct, kw_only=True):
    """Which files decided about the run, and what named them.

    `sha256` has the hash of each file that the run read, as it was then, by the name of its field here, and that of the
    program; it is empty where nobody asked (`plena-emu run --json` does).
    """

    settings: str
    settings_origin: str
    weight_manifest: str | None = None
    hbm: str | None = None
    fpsram: str | None = None
    intsram: str | None = None
    vram: str | None = None
    board: str | None = None
    dram: str | None = None
    sha256: dict[str, str] = {}


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
    """A value of the board that a flag replaced; `before` is None where the board has none.

    `flag` is what was typed: `--clock-mhz`, or in Python the name of the field, `clock_mhz`.
    """

    flag: str
    before: str | None
    after: str


class PartRecord(msgspec.Struct, kw_only=True):
    """The memory part behind a run on a board: peak bytes/s of row hits, and the part of the time it refreshes.

    `name` says where a part that ships was copied and changed under its name. The clock is not exact where the asked
    data rate (`ddr_speed`) gives a period of no whole number of picoseconds, which is rounded to nearest.
    """

    name: str
    file: str
    named_by: str
    clock_period_ps: int
    clock_period_exact: bool = True
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


class Figures(msgspec.Struct, kw_only=True):
    """Figures of a part of a program. Those of disjoint parts add up to those of the run, exactly.

    Every duration is in picoseconds. `matrix_ps` + `vector_ps` + `scalar_ps` (scalar and control) = `compute_ps`;
    `memory_ps` is the time that the core waits for transfers. `bytes_read` includes the reads of stores (§3.3).
    `link_bytes` are the bytes over the host link, `link_ps` the time they take on it at its bandwidth, `swaps` the
    layers or regions swapped in whole. `multiply_adds` are those of all products, `broadcast_multiply_adds` the part of
    them that broadcast products do (M_BMM, M_BTMM and their row forms). The `row_*` are transfers of a DRAM by the
    first command issued for each (§4.8), None without a DRAM controller.
    """

    instructions: int = 0
    compute_ps: int = 0
    matrix_ps: int = 0
    vector_ps: int = 0
    scalar_ps: int = 0
    memory_ps: int = 0
    transfers: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    link_bytes: int = 0
    link_ps: int = 0
    swaps: int = 0
    multiply_adds: int = 0
    broadcast_multiply_adds: int = 0
    row_hits: int | None = None
    row_misses: int | None = None
    row_conflicts: int | None = None

    @property
    def time_ps(self) -> int:
        """Compute and memory time."""
        return self.compute_ps + self.memory_ps

    def add(self, other: Figures) -> None:
        """Add the figures of a disjoint part."""
        for name in FIELDS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if theirs is not None:
                setattr(self, name, theirs if mine is None else mine + theirs)


FIELDS = Figures.__struct_fields__


class Row(msgspec.Struct, kw_only=True):
    """Figures under a key: (layer, operator), (region,), (opcode,) or (loop,)."""

    key: tuple[int | str | None, ...]
    figures: Figures


class StageTable(msgspec.Struct, kw_only=True):
    """Where a run's time, bytes and multiply-adds went.

    Attributes
    ----------
    source : str
        What the stages come from: a file, or `loops` where nothing names any (then operators are paths of loops).
    array_size : int
        Multiply-adds the matrix unit can begin a cycle, BLEN x BLEN.
    broadcast_size : int
        The same of broadcast products, whose cycles are those of MLEN x MLEN multipliers (§9.4).
    core_period_ps : int
        A core cycle.
    stages : list of Row
        By (layer, operator), in program order; layer is None outside layers.
    regions : list of Row
        By HBM region, transfers only: each counts for the region that holds its first element.
    opcodes : list of Row
        By mnemonic.
    loops : list of Row or None
        By loop, everything inside it included, so that rows overlap. None where nobody asked: programs have thousands
        of loops (`plena_emu.run(…, loops=True)`, `plena-emu profile --by loop`).
    warnings : list of str
    """

    source: str
    array_size: int
    broadcast_size: int = 0
    core_period_ps: int = 1000
    stages: list[Row]
    regions: list[Row]
    opcodes: list[Row]
    loops: list[Row] | None = None
    warnings: list[str] = []

    def by(self, *names: str) -> list[Row]:
        """Group the figures.

        Parameters
        ----------
        names : str
            `layer`, `operator` or both in either order; else one of `region`, `opcode`, `loop`. One text with commas,
            `layer,operator` as on command lines, is the same.

        Returns
        -------
        list of Row
            Keys in the order of `names`; the rows in program order.

        Raises
        ------
        ValueError
            For other names, and for `loop` where the run kept no figures of loops.
        """
        names = named(names, self.loops is not None)
        if names in (("region",), ("opcode",), ("loop",)):
            return getattr(self, f"{names[0]}s")
        places = places_of(names, ("region", "opcode", "loop"))
        return merged((tuple(row.key[place] for place in places), row.figures) for row in self.stages)

    @property
    def total(self) -> Figures:
        """Sum over all stages."""
        sums = Figures()
        for row in self.stages:
            sums.add(row.figures)
        return sums

    def array_utilization(self, figures: Figures) -> float:
        """Put the multiply-adds over the most that the matrix unit could have begun meanwhile, 0 to 1.

        The most is `array_size` a cycle, and `broadcast_size` for broadcast products. So M_MM with MLEN 64 on a machine
        with an overhead of 8 cycles has 64 / 72 = 0.889 while it runs, and 0.444 in a stage of which it takes half the
        time; M_MV uses one row of BLEN multipliers, 1 / BLEN.

        Returns
        -------
        float
            0 where no time passed.
        """
        if not figures.time_ps:
            return 0.0
        cycles = (figures.multiply_adds - figures.broadcast_multiply_adds) / self.array_size
        if figures.broadcast_multiply_adds and self.broadcast_size:
            cycles += figures.broadcast_multiply_adds / self.broadcast_size
        return self.core_period_ps * cycles / figures.time_ps

    def to_pandas(self, *names: str) -> pandas.DataFrame:
        """Build a data frame of `by(*names)`, by layer and operator if none is named; needs pandas."""
        import pandas

        names = names or ("layer", "operator")
        rows = self.by(*names)
        names = named(names, True)
        columns: dict[str, list] = {name: [row.key[at] for row in rows] for at, name in enumerate(names)}
        columns |= {name: [getattr(row.figures, name) for row in rows] for name in FIELDS}
        columns["array_utilization"] = [self.array_utilization(row.figures) for row in rows]
        return pandas.DataFrame(columns)

    def __repr__(self) -> str:
        whole = self.total.time_ps
        rows = sorted(self.by("operator"), key=lambda row: -row.figures.time_ps)
        parts = [f"{row.key[0]} {100 * row.figures.time_ps / whole:.1f} %" for row in rows[:3] if whole]
        more = f", and {len(rows) - 3} more" if len(rows) > 3 else ""
        return f"<StageTable {whole / 1e6:,.1f} µs: {', '.join(parts)}{more}>"

    def _repr_html_(self) -> str:
        whole = self.total.time_ps
        cells = ["<tr><th>operator<th>time (µs)<th>share<th>compute<th>memory<th>bytes read<th>multiply-adds"]
        for row in sorted(self.by("operator"), key=lambda row: -row.figures.time_ps):
            f = row.figures
            share = f"{100 * f.time_ps / whole:.1f} %" if whole else ""
            cells.append(f"<tr><td>{escape(str(row.key[0]))}<td>{f.time_ps / 1e6:,.3f}<td>{share}"
                         f"<td>{f.compute_ps / 1e6:,.3f}<td>{f.memory_ps / 1e6:,.3f}<td>{f.bytes_read:,}"
                         f"<td>{f.multiply_adds:,}")
        return f"<table>{''.join(cells)}</table>"


def escape(text: str) -> str:
    """Text for HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def merged(pairs: Iterable[tuple[tuple, Figures]]) -> list[Row]:
    """Sum figures under equal keys; the rows come in the order of the first of each."""
    sums: dict[tuple, Figures] = {}
    for key, figures in pairs:
        sums.setdefault(key, Figures()).add(figures)
    return [Row(key=key, figures=figures) for key, figures in sums.items()]


class OverlapFigures(msgspec.Struct, kw_only=True):
    """Outcome of the overlay; cycles of 1000 ps, rounded up."""

    serial_cycles: int
    adjusted_cycles: int
    hidden_prefetch_cycles: int
    pending_prefetch_cycles: int
    prefetch_ops: int
    compute_ops: int
    dependent_prefetch_stalls: int


class TimelineFile(msgspec.Struct, kw_only=True):
    """A timeline that was written; slices of a track and stage were merged within `bucket_ps`, 0 for none.

    `bandwidth` samples the bytes a second read and written: (instant in ps, rate from then on).
    """

    path: str
    slices: int
    bucket_ps: int
    bandwidth: list[tuple[int, float]] = []


class HardwareTiming(msgspec.Struct, kw_only=True):
    """What hardware timing adds (spec chapter 7).

    `timing` is `serial` or the name of the timing file `timing_file`, `dma` `reference` or `production`.
    `hbm_channels` are the channels of the memory that was timed, whatever it is; None for the idealised DDR of §3.5,
    which has none.
    `serial_latency_ps` is the latency of the serial run, whatever the headline is. `timeline` is the timeline object
    of §7.11 (None in serial mode), `dma_transfers` what the DMAs moved (None with reference DMA). `stages` says where
    the cycles of the timeline went, where somebody asked.
    """

    timing: str
    timing_file: str | None = None
    dma: str
    clock_period_ps: int
    hbm_channels: int | None
    serial_latency_ps: int
    timeline: dict | None = None
    dma_transfers: dict[str, int] | None = None
    stages: CycleTable | None = None


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
    could not be written; then none of the run is there. `stages` says where the time went (of the serial run),
    `overlap` what prefetches could hide; None where nobody asked.
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
    stages: StageTable | None = None
    overlap: OverlapFigures | None = None
    timeline: TimelineFile | None = None
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
FORMATS = {"run": 2, "bench": 1, "plan": 2, "profile": 2, "dram": 1, "manifest": 1, "boards": 1, "board": 1,
           "compile": 1, "check": 1, "estimate": 2, "diff": 1, "sweep": 1, "search": 1}


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
        import json  # takes text that no encoding has

        return json.dumps(msgspec.to_builtins(content), indent=2).encode() + b"\n"



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
