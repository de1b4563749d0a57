"""What a run found out: one typed, JSON-ready tree. Every figure carries its unit in its name."""

import json

import msgspec

from .figures import StageTable


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


class BoardRecord(msgspec.Struct, kw_only=True):
    """The board of a run, what it replaced in the settings, and the latency on it (§6.2).

    `cycles` are core cycles of 1000 ps, memory time included, and `seconds` those at the board's clock.
    `seconds_memory_unscaled` charges compute at the board's clock and the memory its own time as simulated: DDR timing
    and host link are in absolute time and do not slow down with the core.
    """

    name: str
    file: str
    latency_profile: str | None = None
    clock_mhz: float
    changes: list[SettingChange]
    tile_hints: list[TileStatus]
    cycles: float
    seconds: float
    seconds_memory_unscaled: float


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


class RunResult(msgspec.Struct, kw_only=True):
    """Result record of one run.

    `latency_ps` and `end_ps` are those of §3.1, `cycles` is latency in core cycles of 1000 ps. `compute_ps` +
    `memory_ps` = `end_ps`. `regime` is the regime a model settled on (`auto` chooses one), None for the others.
    `model_line` is the model's own statistics line (§3.7 - §3.9), None where it has none; `model_statistics` the same
    as values; `dram_statistics` are those of a DRAM controller (§4.8), `memo` says how often timing remembered an
    answer. `limits` is None for `hbm`, `board` without a board. `dump_errors` names each dump that could
    not be written, one line each. `stages` says where the time went, None where nobody asked.
    """

    isa: str
    program: Program
    sources: Sources
    geometry: Geometry
    model: str
    regime: str | None = None
    limits: MemoryLimits | None = None
    board: BoardRecord | None = None
    latency_ps: int
    end_ps: int
    cycles: float
    compute_ps: int
    memory_ps: int
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
    dropped: Dropped
    dumps: list[Dump] = []
    dump_errors: list[str] = []
    wall: Wall
    instructions_per_s: float
    timing_only: bool = False
    stopped_by_max_instructions: bool = False
    warnings: list[str] = []
    versions: dict[str, str]

    def to_json(self) -> bytes:
        """Indented JSON text of the whole record. Bytes of paths that are no UTF-8 are lone surrogates, escaped."""
        try:
            return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
        except UnicodeEncodeError:
            return json.dumps(msgspec.to_builtins(self), indent=2).encode() + b"\n"


def utilization(bytes_read: int, bytes_written: int, end_ps: int) -> float:
    """Bytes a second over the run (§3.10); 0 for a run that ends at time 0."""
    return (bytes_read + bytes_written) / (end_ps / 1e12) if end_ps else 0.0


def scientific(value: float) -> str:
    """`5.22e9`: two decimals, no plus sign, no zero padding (§3.10)."""
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def hbm_statistics(result: RunResult) -> str:
    """The byte statistics of §3.10, with the model's own line below where it has one."""
    line = (f"HBM Statistics - Bytes read: {result.bytes_read} | Bytes written: {result.bytes_written}"
            f" | Utilization: {scientific(result.utilization_bytes_per_s)} bytes/sec")
    return f"{line}\n{result.model_line}" if result.model_line else line


def nanoseconds(picoseconds: int) -> str:
    """Nanoseconds with exactly three decimals, exact for any integer."""
    return f"{picoseconds // 1000}.{picoseconds % 1000:03d}"
