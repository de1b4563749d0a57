"""Board-DDR memory models, host side: manifest and flags in, kernel arrays and statistics out (spec §3.6-§3.10).

Sizes and transfer times are exact integers here; the kernels get what they need of them per item.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from ..errors import EmuError
from ..inputs.choices import IDEALISED, MEMORY_MODELS
from ..kernels import layout
from ..kernels.limits import TIME_LIMIT
from ..kernels.memory import regimes as rg
from ..kernels.memory import transfer as tr
from ..kernels.memory.ledger import Ledger
from ..manifests.footprint import LINE, first_regions, transfer_ns
from ..manifests.schema import Manifest
from .engines import DramEngine, warm_engine
from .interfaces import Follower, FollowingEngine, MemoryEngine
from .ledger import new_ledger

if TYPE_CHECKING:
    from ..boards.dram_schema import DramDescription

REGIMES = tuple(model for model in MEMORY_MODELS if model != "auto")  # `auto` is decided before a model is made


class HostStreamStatistics(msgspec.Struct, kw_only=True, tag_field="model", tag="host-stream"):
    """Reads and bytes of §3.7."""

    weight_reads: int
    weight_bytes: int
    activation_reads: int
    activation_bytes: int

    @property
    def line(self) -> str:
        """The model's statistics line."""
        return (f"Host-stream memory - weight reads: {self.weight_reads} ({self.weight_bytes} bytes)"
                f" | activation reads: {self.activation_reads} ({self.activation_bytes} bytes)")


class LayerSwapStatistics(msgspec.Struct, kw_only=True, tag_field="model", tag="layer-swap"):
    """Swaps, bytes and nanoseconds of §3.8."""

    swaps: int
    swapped_bytes: int
    swap_ns: int
    capacity_bytes: int

    @property
    def line(self) -> str:
        """The model's statistics line."""
        return (f"Layer-swap memory - swaps: {self.swaps} | swapped bytes: {self.swapped_bytes}"
                f" | swap time: {self.swap_ns} ns")


class CapacityStatistics(msgspec.Struct, kw_only=True, tag_field="model", tag="capacity"):
    """Bytes and swaps of §3.9, with the capacity and the footprints that decided."""

    regime: str
    resident_bytes: int
    kv_swapped_bytes: int
    kv_swaps: int
    weight_streamed_bytes: int
    capacity_bytes: int
    weight_footprint_bytes: int
    total_footprint_bytes: int

    @property
    def line(self) -> str:
        """The model's statistics line."""
        return (f"Capacity model [{self.regime}] - resident bytes: {self.resident_bytes}"
                f" | kv swapped bytes: {self.kv_swapped_bytes} (swaps: {self.kv_swaps})"
                f" | weight streamed bytes: {self.weight_streamed_bytes}")


class PlainStatistics(msgspec.Struct, kw_only=True, tag_field="model", tag="hbm"):
    """The `hbm` model: nothing but its DRAM counts."""

    @property
    def line(self) -> None:
        """No statistics line of its own (§3.10)."""
        return None


Statistics = PlainStatistics | HostStreamStatistics | LayerSwapStatistics | CapacityStatistics


class _Item(msgspec.Struct, frozen=True):
    """What is swapped as one: a layer, or a KV or activation region."""

    key: int  # what decides whether it is resident: layer_id or region offset
    size: int
    name: str


class _Plan(msgspec.Struct):
    """Segments and items of a model, before they become arrays."""

    code: int
    segments: list[tuple[int, int]]  # (first address, item or NOTHING)
    items: list[_Item] = []
    capacity: int = 0


def _everything() -> _Plan:
    return _Plan(rg.RESIDENT, [(0, rg.NOTHING)])


def _host_stream(manifest: Manifest) -> _Plan:
    """Plan to stream whatever lies in some region at or above the ceiling (§3.7)."""
    ceiling = manifest.activation_ceiling
    pieces = first_regions(manifest.regions)
    owner = next((index for first, index in reversed(pieces) if first <= ceiling), None)
    above = [(ceiling, owner), *(piece for piece in pieces if piece[0] > ceiling)]
    below = [(0, rg.NOTHING)] if ceiling else []
    return _Plan(rg.STREAM, below + [(first, rg.NOTHING if index is None else 0) for first, index in above])


def _weight_stream(manifest: Manifest) -> _Plan:
    """Plan to stream whatever lies in a weight region (§3.9)."""
    return _Plan(rg.STREAM, [
        (first, 0 if index is not None and manifest.regions[index].kind == "weight" else rg.NOTHING)
        for first, index in first_regions(manifest.regions)
    ])


def _layer_swap(manifest: Manifest, capacity: int) -> _Plan:
    sizes: dict[int, int] = {}
    for region in manifest.regions:
        sizes[region.layer_id] = sizes.get(region.layer_id, 0) + region.size
    place = {layer: k for k, layer in enumerate(sizes)}
    return _Plan(
        rg.SWAP,
        [
            (first, rg.NOTHING if index is None else place[manifest.regions[index].layer_id])
            for first, index in first_regions(manifest.regions)
        ],
        [_Item(layer, size, f"layer {layer}") for layer, size in sizes.items()],
        capacity,
    )


def _kv_swap(manifest: Manifest, capacity: int) -> _Plan:
    return _Plan(
        rg.SWAP,
        [
            (first, rg.NOTHING if index is None or manifest.regions[index].kind == "weight" else index)
            for first, index in first_regions(manifest.regions)
        ],
        [
            _Item(region.offset, region.size, f"{region.kind} region at offset {region.offset}")
            for region in manifest.regions
        ],
        max(0, capacity - manifest.footprint("weight")),
    )


def _limbs(value: int) -> tuple[int, int]:
    return value >> 32, value & 0xFFFFFFFF


def _column(values) -> np.ndarray:
    """int64 column with at least one row, so that a kernel never sees an empty array."""
    return np.array(list(values) or [0], dtype=np.int64)


def _wait_ps(size: int, bandwidth: int) -> int:
    """Picoseconds of a transfer; one that no run can wait for stands just past the time limit."""
    return min(transfer_ns(size, bandwidth) * 1000, TIME_LIMIT + 1)


def _regime(plan: _Plan, bandwidth: int) -> rg.Regime:
    """Kernel arrays of a plan."""
    keys: dict[int, int] = {}
    for item in plan.items:
        keys.setdefault(item.key, len(keys))
    reg = np.zeros(rg.RG_WIDTH, dtype=np.int64)
    reg[rg.RG_CODE] = plan.code
    if plan.code == rg.STREAM:  # nothing else moves single lines over the link
        reg[rg.RG_LINE_PS] = _wait_ps(LINE, bandwidth)
    table = np.zeros((max(1, len(plan.items)), rg.ITEM_WIDTH), dtype=np.int64)
    for row, item in zip(table, plan.items, strict=False):
        row[rg.ITEM_KEY] = keys[item.key]
        row[rg.ITEM_SIZE_HI], row[rg.ITEM_SIZE_LO] = _limbs(item.size)
        row[rg.ITEM_WAIT] = _wait_ps(item.size, bandwidth)
    # Capacity and sizes keep their order; only sums below 2^95 can ever be compared.
    reg[rg.RG_CAPACITY_HI], reg[rg.RG_CAPACITY_LO] = _limbs(plan.capacity)
    starts = [first + rg.SIGN for first, _ in plan.segments]
    return rg.Regime(
        reg=reg,
        starts=_column([*starts, 2**63 - 1]),
        items=_column(item for _, item in plan.segments),
        table=table,
        listed=_column(0 for _ in keys),
        resident=_column(0 for _ in keys),
    )


def most_accesses(descriptors: np.ndarray) -> int:
    """Longest list of 64-byte accesses that a row of the table of DMA descriptors can give."""
    most = 1
    for descriptor in descriptors.tolist():
        scales = descriptor[layout.DESC_SCALE_BYTES]
        scales = scales if descriptor[layout.DESC_STORE] else min(1, scales)
        row = sum((length + 2 * LINE - 2) // LINE for length in (descriptor[layout.DESC_ROW_BYTES], scales) if length)
        most = max(most, row * descriptor[layout.DESC_ROWS])
    return most


def new_transfer(regime: rg.Regime, accesses: int, ledger: Ledger) -> tr.Transfer:
    """What stands in front of a memory engine whose longest list is `accesses`."""
    try:
        addr, wait, link = (np.zeros(accesses, dtype=np.int64) for _ in range(3))
    except (MemoryError, ValueError):
        raise EmuError(f"memory: no room for a transfer of {accesses} accesses") from None
    return tr.Transfer(np.zeros(tr.TRANSFER_WIDTH, dtype=np.int64), addr, wait, link, regime, ledger)


def _timing_key(regime, dram, revision, memo, dma, channels) -> bytes:
    """Everything about a memory that its times depend on: equal keys and equal events take equal times."""
    arrays = b"".join(len(array.tobytes()).to_bytes(8) + array.tobytes()
                      for array in (regime.reg, regime.starts, regime.items, regime.table))
    return arrays + msgspec.json.encode([dram, revision, memo, dma, channels])


class Timed(NamedTuple):
    """A memory that a whole run went through: its registers and its engine, which no other run may advance."""

    transfer: tr.Transfer
    engine: MemoryEngine


class RegimeModel:
    """One memory model and its run so far.

    Parameters
    ----------
    regime : str
        One of `REGIMES`.
    manifest : Manifest
        Its regions; `capacity` counts, whatever capacity the manifest states (`decide_regime`).
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
        DMA descriptors of the run.
    capacity : int
        Bytes of DDR.
    bandwidth : int
        Bytes/s of the host link, not 0.
    dram : str or DramDescription, optional
        A DRAM description, or its name or file: its controller takes the place of the idealised DDR banks. `hbm` is
        the model of plain reads, on `hbm2` where no other is given; with `IDEALISED` on the idealised banks.
    revision : str
        `base` or `moe`; a DRAM's timing may differ between them (§4.6).
    memo : bool
        Whether answers to repeated access patterns are remembered; the figures are the same.
    dma : str
        `reference` (spec §3.2, §3.3) or `production` (§7.2-§7.4).
    channels : int, optional
        Channels of hbm2 with production DMA.
    ledger : Ledger, optional
        Accounts by instruction and region; without it nothing is charged.
    known : callable, optional
        Asked for a `Timed` by `timing_key`; where it has one, this model `is_timed` and takes its figures from that.
    """

    def __init__(
        self, regime: str, manifest: Manifest, descriptors: np.ndarray, capacity: int, bandwidth: int,
        dram: str | DramDescription | None = None, revision: str = "base", memo: bool = True,
        dma: str = "reference", channels: int | None = None, ledger: Ledger | None = None,
        known: Callable[[bytes], Timed | None] | None = None,
    ):
        if regime not in REGIMES:
            raise EmuError(f"memory model {regime!r}: expected one of {', '.join(REGIMES)}")
        if bandwidth < 1:
            raise EmuError(f"host bandwidth: found {bandwidth}, expected at least 1 byte/s")
        self.regime = regime
        self.capacity = capacity
        self.manifest = manifest
        self.descriptors = descriptors
        self.bandwidth = bandwidth
        self._plan = self._new_plan()
        self.ledger = ledger or new_ledger(0, ())
        dram = _dram_of(regime, dram)
        arrays = _regime(self._plan, self.bandwidth)
        self.timing_key = _timing_key(arrays, dram, revision, memo, dma, channels)
        timed = known(self.timing_key) if known else None
        self.is_timed = timed is not None
        self._transfer, self.engine = timed or self._open_engine(arrays, dram, revision, memo, dma, channels)

    @property
    def timed(self) -> Timed:
        """This memory after a whole run, for models with the same `timing_key` and the same memory events."""
        return Timed(self._transfer, self.engine)

    def _open_engine(self, regime, dram, revision, memo, dma, channels) -> tuple[tr.Transfer, MemoryEngine]:
        """Open the engine, and the transfer in front of it."""
        if dma == "production":
            from .line_engine import LineEngine, SimpleLineEngine, most_lines

            transfer = new_transfer(regime, most_lines(self.descriptors), self.ledger)
            if dram is None:
                return transfer, SimpleLineEngine(transfer, self.descriptors, memo)
            return transfer, LineEngine(transfer, self.descriptors, dram, channels, memo)
        accesses = most_accesses(self.descriptors)
        transfer = new_transfer(regime, accesses, self.ledger)
        if dram is None:
            from .simple_engine import SimpleEngine

            return transfer, SimpleEngine(transfer, accesses, memo)
        return transfer, DramEngine(transfer, dram, revision, memo)

    def _new_plan(self):
        if self.regime == "host-stream":
            return _host_stream(self.manifest)
        if self.regime == "layer-swap":
            return _layer_swap(self.manifest, self.capacity)
        if self.regime == "kv-swap":
            return _kv_swap(self.manifest, self.capacity)
        if self.regime == "weight-stream":
            return _weight_stream(self.manifest)
        return _everything()

    def warm(self) -> None:
        """Have the kernel compiled, or loaded from the cache."""
        warm_engine(self.engine, self.descriptors)

    def advance(self, events: np.ndarray, count: int) -> None:
        """Run the memory events `events[:count]` of a slice (int64[:, MEV_WIDTH]).

        Raises
        ------
        EmuError
            Simulated time passes 2^62 ps; the line names the pc.
        """
        if self.engine.run(events, count, self.descriptors) != tr.TIMING_OK:
            event = int(self._transfer.reg[tr.TRANSFER_EVENT])
            raise EmuError(
                f"pc={int(events[event, layout.MEV_PC])}: simulated time passes {TIME_LIMIT} ps (53 days);"
                f" host bandwidth is {self.bandwidth} bytes/s"
            )

    def follow(self, events: np.ndarray) -> Follower:
        """Time events from now on beside control, which puts them into int64[:, MEV_WIDTH]; its engine can do that."""
        engine = self.engine
        if not isinstance(engine, FollowingEngine):
            raise TypeError(f"{type(engine).__name__}: expected an engine that can follow")
        return engine.follow(events, self.descriptors)

    def warm_follower(self) -> None:
        """Have the kernels of `follow` compiled, or loaded from the cache; its engine can do that."""
        self.follow(np.zeros((1, layout.MEV_WIDTH), dtype=np.int64)).warm()

    @property
    def now_ps(self) -> int:
        """Completion of the last memory event."""
        return int(self._transfer.reg[tr.TRANSFER_NOW])

    @property
    def last_event_ps(self) -> int:
        """Last event so far, pending precharges included; `latency` is the larger of this and `end` (§3.1)."""
        return max(self.now_ps, self.engine.last_event_ps)

    @property
    def link_busy_ps(self) -> int:
        """Time that transfers over the host link took, each as §3.6 has it; they never overlap on the link."""
        regime = self._transfer.regime
        swaps = zip(regime.table[:, rg.ITEM_SWAPS], self._plan.items, strict=False)
        streamed_ns = int(regime.reg[rg.RG_STREAMED]) * transfer_ns(LINE, self.bandwidth)
        return 1000 * (streamed_ns + sum(int(n) * transfer_ns(item.size, self.bandwidth) for n, item in swaps))

    @property
    def bytes_read(self) -> int:
        return int(self._transfer.reg[tr.TRANSFER_READ])

    @property
    def bytes_written(self) -> int:
        return int(self._transfer.reg[tr.TRANSFER_WRITTEN])

    @property
    def statistics(self) -> Statistics:
        """What the model counted so far; its `line` is the statistics line."""
        regime = self._transfer.regime
        plain, streamed = int(regime.reg[rg.RG_PLAIN]), int(regime.reg[rg.RG_STREAMED])
        swaps = [(int(n), item.size) for n, item in zip(regime.table[:, rg.ITEM_SWAPS], self._plan.items, strict=False)]
        swapped = sum(n * size for n, size in swaps)
        if self.regime == "hbm":
            return PlainStatistics()
        if self.regime == "host-stream":
            return HostStreamStatistics(
                weight_reads=streamed, weight_bytes=LINE * streamed, activation_reads=plain,
                activation_bytes=LINE * plain,
            )
        if self.regime == "layer-swap":
            return LayerSwapStatistics(
                swaps=sum(n for n, _ in swaps), swapped_bytes=swapped,
                swap_ns=sum(n * transfer_ns(size, self.bandwidth) for n, size in swaps), capacity_bytes=self.capacity,
            )
        return CapacityStatistics(
            regime=self.regime, resident_bytes=LINE * plain, kv_swapped_bytes=swapped,
            kv_swaps=sum(n for n, _ in swaps), weight_streamed_bytes=LINE * streamed, capacity_bytes=self.capacity,
            weight_footprint_bytes=self.manifest.footprint("weight"), total_footprint_bytes=self.manifest.footprint(),
        )

    def warnings(self) -> list[str]:
        """List what the manifest made ignore, and items larger than the capacity that were swapped in (§3.8, §3.9)."""
        return list(self.manifest.warnings) + [
            f"{item.name} has {item.size} bytes, the DDR holds {self._plan.capacity}: it does not fit and was"
            f" swapped in all the same ({int(n)} times)"
            for n, item in zip(self._transfer.regime.table[:, rg.ITEM_SWAPS], self._plan.items, strict=False)
            if n and item.size > self._plan.capacity
        ]


def _dram_of(regime, dram):
    """The DRAM that times a regime; None on the idealised banks."""
    if dram == IDEALISED:
        return None
    return dram or "hbm2" if regime == "hbm" else dram


def import_engine(regime: str, dram: str | DramDescription | None, dma: str) -> None:
    """Import what `open_model` will open and no other run needs.

    It is for before the first kernel is loaded: a process that is forked while a thread imports a module, not while it
    loads a kernel, can never import that module.
    """
    if dma == "production":
        names = ["line_engine"]
    else:
        names = ["simple_engine"] if _dram_of(regime, dram) is None else ["dram", "foresight"]
    for name in names:
        importlib.import_module(f"{__package__}.{name}")


def open_model(regime: str, manifest: Manifest, descriptors: np.ndarray, *, capacity: int | None, bandwidth: int | None,
               dram: str | DramDescription | None = None, revision: str = "base", memo: bool = True,
               dma: str = "reference", channels: int | None = None, ledger: Ledger | None = None,
               known: Callable[[bytes], Timed | None] | None = None) -> RegimeModel:
    """Make the memory model of a run from what was decided about it; the one factory.

    Parameters are those of `RegimeModel`; `capacity` and `bandwidth` are None where the regime uses none.

    Returns
    -------
    RegimeModel
    """
    return RegimeModel(regime, manifest, descriptors, 0 if capacity is None else capacity,
                       1 if bandwidth is None else bandwidth, dram, revision, memo, dma, channels, ledger, known)
