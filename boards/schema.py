"""Typed schema of a board file and of a latency profile (spec §6.1).

Unknown keys, missing keys, wrong types and impossible values are errors of one line that name the
file and the dotted key.
"""

import math
from typing import Annotated, Literal

from msgspec import Meta

from plena_emu.errors import EmuError
from plena_emu.inputs.number_formats import Fp, Int, Mx, Plain
from plena_emu.inputs.words import one_of

from .core_clock import FASTEST_MHZ, SLOWEST_MHZ, core_period_ps
from .sections import MAX, Positive, Section, Text, made_of

Natural = Annotated[int, Meta(ge=0, le=MAX)]
Cycles = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Rate = Annotated[int, Meta(ge=1, le=MAX)] | Annotated[float, Meta(gt=0)]


class Precision(Section, frozen=True):
    """Number formats under the names of the settings file; KV, integer and scalar types may be left out."""

    MATRIX_SRAM_TYPE: Plain | Mx
    VECTOR_SRAM_TYPE: Plain | Mx
    HBM_M_WEIGHT_TYPE: Plain | Mx
    HBM_V_ACT_TYPE: Plain | Mx
    HBM_M_KV_TYPE: Plain | Mx | None = None
    HBM_V_KV_TYPE: Plain | Mx | None = None
    HBM_V_INT_TYPE: Plain | Mx | None = None
    SCALAR_FP: Fp | Int | None = None


class Memory(Section, frozen=True):
    """Memory of the board: sizes in bytes, bandwidths in GB/s, SRAM sizes and amounts as in the settings.

    One of `capacity_bytes`, `physical_size_bytes`, `hbm_size_bytes` must be there. The three `*_cycles` of
    transfers are the profiler's charge for a memory instruction; 0 means that it charges none. `dram` names the
    board's part for its own time (§10.1): a DRAM description that ships, or the path of a file.
    """

    type: Text
    bus_width_bits: Positive
    peak_bandwidth_gbps: Rate
    matrix_sram_size: Positive
    vector_sram_size: Positive
    prefetch_m_amount: Positive
    prefetch_v_amount: Positive
    writeback_v_amount: Positive
    device: Text | None = None
    dram: Text | None = None
    physical_size_bytes: Positive | None = None
    capacity_bytes: Positive | None = None
    hbm_size_bytes: Positive | None = None
    modeled_size_bytes: Positive | None = None
    effective_bandwidth_gbps: Rate | None = None
    ddr3_burst_cycles: Positive | None = None
    ddr3_row_miss_penalty: Natural | None = None
    prefetch_v_cycles: Cycles = 0
    prefetch_m_cycles: Cycles = 0
    store_v_cycles: Cycles = 0


class HostLink(Section, frozen=True):
    """Link to the host; bandwidths in bytes per second."""

    type: Text
    bandwidth_bytes_per_sec: Positive
    theoretical_bytes_per_sec: Positive | None = None


class Latency(Section, frozen=True):
    """Core cycles of each unit; `dc_lib_en` tells the build with the DesignWare library."""

    dc_lib_en: bool
    systolic_processing_overhead: Cycles
    vector_add: Cycles
    vector_mul: Cycles
    vector_exp: Cycles
    vector_reci: Cycles
    vector_max: Cycles
    vector_sum: Cycles
    vector_shift: Cycles
    vector_prefix_scan: Cycles
    scalar_fp_basic: Cycles
    scalar_fp_exp: Cycles
    scalar_fp_sqrt: Cycles
    scalar_fp_reci: Cycles
    scalar_int_basic: Cycles


class Power(Section, frozen=True):
    """Watts and volts."""

    tdp_watts: Rate
    io_volts: Rate


class Resources(Section, frozen=True):
    """Resources of the part."""

    luts: Positive
    ffs: Positive
    bram_36k: Positive
    dsp48: Positive | None = None
    dsp58: Positive | None = None
    uram: Positive | None = None
    aie_tiles: Positive | None = None


class TileHint(Section, frozen=True):
    """What is known of one geometry on this board."""

    mlen: Positive
    vlen: Positive
    blen: Positive
    batch: Positive
    status: Literal["proven", "untested", "exceeds_resources"]


class BoardFile(Section, frozen=True):
    """The keys of a board file."""

    name: Text
    description: Text
    vendor: Text
    family: Text
    part: Text
    clock_mhz: Rate
    memory: Memory
    precision: Precision
    latency: Latency
    power: Power
    resources: Resources
    tile_hints: tuple[TileHint, ...]
    host_link: HostLink | None = None


class Board(BoardFile, frozen=True, kw_only=True):
    """A loaded board: `source` is its file, `latency_profile` the name of the profile laid over it, if any."""

    source: str
    latency_profile: str | None = None

    @property
    def ddr_capacity_bytes(self) -> int:
        """Bytes a model has to fit into: capacity, else the physical size, else the HBM size (§6.1, §6.3)."""
        memory = self.memory
        sizes = (memory.capacity_bytes, memory.physical_size_bytes, memory.hbm_size_bytes)
        return next(size for size in sizes if size)

    @property
    def host_bandwidth(self) -> int | None:
        """Sustained bytes per second of the host link; None for a board without one."""
        return self.host_link.bandwidth_bytes_per_sec if self.host_link else None

    @property
    def core_period(self) -> tuple[int, bool]:
        """Picoseconds of a core cycle, and whether they are exact (§10.1)."""
        return core_period_ps(self.clock_mhz)

    def seconds(self, cycles: int | float) -> float:
        """Work out the seconds that `cycles` core cycles take at the board's clock."""
        return cycles / (self.clock_mhz * 1e6)

    def hints(self, mlen: int, vlen: int, blen: int) -> list[TileHint]:
        """Find the tile hints for one geometry, one for each batch size that was looked at."""
        return [hint for hint in self.tile_hints if (hint.mlen, hint.vlen, hint.blen) == (mlen, vlen, blen)]


class LatencyProfile(Section, frozen=True):
    """Latencies and clock of another build for the same part, laid over a board."""

    name: Text
    description: Text
    part: Text
    clock_mhz: Rate
    latency: dict[str, Cycles]


def to_board(data: object, source: str) -> Board:
    """Check the parsed YAML of `source`; raises `EmuError`.

    Returns
    -------
    Board
    """
    file = made_of(data, BoardFile, f"board {source}")
    _check_board(file, f"board {source}")
    return Board(**{name: getattr(file, name) for name in file.__struct_fields__}, source=source)


def to_profile(data: object, source: str) -> LatencyProfile:
    """Check the parsed YAML of a latency profile; raises `EmuError`.

    Returns
    -------
    LatencyProfile
    """
    what = f"latency profile {source}"
    profile = made_of(data, LatencyProfile, what)
    known = [name for name in Latency.__struct_fields__ if name != "dc_lib_en"]
    for name in profile.latency:
        if name not in known:
            raise EmuError(f"{what}: latency.{name}: found an unknown key, expected {one_of(known)}")
    _finite(what, "clock_mhz", profile.clock_mhz)
    _check_clock(what, profile.clock_mhz)
    return profile


def _check_board(board, what):
    """Refuse values that no board can have, beyond the range of each key."""
    memory, link = board.memory, board.host_link
    sizes = (memory.capacity_bytes, memory.physical_size_bytes, memory.hbm_size_bytes)
    if not any(sizes):
        raise EmuError(f"{what}: memory.capacity_bytes: found nothing, expected one of capacity_bytes,"
                       " physical_size_bytes, hbm_size_bytes")
    rates = {
        "clock_mhz": board.clock_mhz,
        "memory.peak_bandwidth_gbps": memory.peak_bandwidth_gbps,
        "memory.effective_bandwidth_gbps": memory.effective_bandwidth_gbps,
        "power.tdp_watts": board.power.tdp_watts,
        "power.io_volts": board.power.io_volts,
    }
    for key, value in rates.items():
        _finite(what, key, value)
    _check_clock(what, board.clock_mhz)
    _at_most(what, "memory.capacity_bytes", memory.capacity_bytes, "physical_size_bytes", memory.physical_size_bytes)
    _at_most(what, "memory.effective_bandwidth_gbps", memory.effective_bandwidth_gbps,
             "peak_bandwidth_gbps", memory.peak_bandwidth_gbps)
    if link:
        _at_most(what, "host_link.bandwidth_bytes_per_sec", link.bandwidth_bytes_per_sec,
                 "theoretical_bytes_per_sec", link.theoretical_bytes_per_sec)
    for number, hint in enumerate(board.tile_hints):
        if hint.mlen % hint.blen:
            raise EmuError(f"{what}: tile_hints[{number}].blen: found {hint.blen}, "
                           f"expected a divisor of mlen {hint.mlen}")


def _check_clock(what, mhz):
    """Refuse a clock whose cycle is no countable number of picoseconds (§10.1)."""
    if not SLOWEST_MHZ <= mhz <= FASTEST_MHZ:
        raise EmuError(f"{what}: clock_mhz: found {mhz}, expected {SLOWEST_MHZ:g} to {FASTEST_MHZ:.0f}")


def _finite(what, key, value):
    if value is not None and not math.isfinite(value):
        raise EmuError(f"{what}: {key}: found {value}, expected a finite number")


def _at_most(what, key, value, limit_key, limit):
    if value is not None and limit is not None and value > limit:
        raise EmuError(f"{what}: {key}: found {value}, expected at most {limit_key} {limit}")
