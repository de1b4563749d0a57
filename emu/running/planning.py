"""Regime planning from a weight manifest alone: footprints, thresholds, lower bounds (spec §3.9, §6.3).

The bounds hold for every run that reads each region in full at least once and whose prefetches each read from
one region only (compiled programs do both: a tensor is a region, and a prefetch belongs to one tensor):

- *resident*: each 64-byte block passes the memory at its peak at best, and refreshes take their share of a long run
  (`boards.dram_pace`). True in every regime.
- *kv-swap*: the first read of each kv and activation region waits for the whole region (§3.9); prefetches run one
  after the other, so these waits add up.
- *weight-stream*: each block of a weight region takes the link for its transfer and for its DDR read; these are serial
  (§3.9).

An instruction either computes or waits for the memory, so compute time adds to each of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..boards.dram_pace import MemoryPace, pace_of
from ..errors import EmuError
from ..manifests.capacity_regime import Choice, choose_regime, decide_regime
from ..manifests.footprint import LINE, Footprint, footprint, layer_count, owned_lines, project_regions, transfer_ns
from ..manifests.schema import Manifest, load_manifest
from ..result import LaidOver, PartRecord
from .board_part import NOTHING_ASKED, Overlay, lay_over, no_part_warning, open_part, without
from .platform import available_capacity, no_link_misfit, resolve_bandwidth

if TYPE_CHECKING:
    from ..boards.schema import Board

ASSUMPTIONS = (
    "every region is read in full at least once",
    "no prefetch reads from two regions",
)


class ComputeCycles(NamedTuple):
    """Core cycles that a program computes.

    Attributes
    ----------
    total : int
    in_layers : int or None
        Those inside layers, by the stages of the build (§9.6); None where nothing names layers.
    layers : int
        How many layers the program names.
    """

    total: int
    in_layers: int | None = None
    layers: int = 0

    def at(self, layers: int) -> int | None:
        """Scale to another number of layers like these, rounded down; None where that is not known.

        Returns
        -------
        int or None
        """
        if self.in_layers is None:
            return None
        return self.total - self.in_layers + self.in_layers * layers // self.layers


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes by kind; `layer_id` is None for the sum of all layers."""

    layer_id: int | None = None
    weight: int
    kv: int
    activation: int
    total: int


class RegimePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One regime: the smallest capacity `auto` enters it at, and lower bounds of what it costs.

    `link_bytes` go over the host link at least and take `link_ns` there; the memory takes `memory_ps` at least and the
    run `run_ps`, compute included where the plan knows it. Times are None where they depend on a link whose bandwidth
    is not known.
    """

    regime: str
    possible_from_bytes: int
    link_bytes: int
    link_ns: int | None
    memory_ps: int | None
    run_ps: int | None


class LayerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Footprint, regime and bounds at another number of layers: weight and kv in proportion, activations as here.

    `compute_ps` is what the program computes inside layers in proportion, and the rest of it as here; None without a
    program, or where nothing names its layers (§9.6).
    """

    layers: int
    footprint: Sizes
    regime: str
    compute_ps: int | None = None
    regimes: list[RegimePlan]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the planner.

    `resident_up_to_layers` and `kv_swap_up_to_layers` are the most layers that stay in a regime at this capacity
    (0: not even one; None: any number). `core_period_ps` is what a core cycle counts as; it is not exact where the
    clock's period is no whole number of ps and was rounded. `compute_ps` is the compute time of the build's program at
    the board's clock, None without a program. `board_time_ps` is the bound of the chosen regime, the sum of
    `compute_ps` and `memory_ps`.
    """

    manifest: str
    board: str
    clock_mhz: float
    core_period_ps: int
    core_period_exact: bool
    part: PartRecord | None
    laid_over: list[LaidOver]
    compute_ps: int | None
    memory_ps: int | None
    board_time_ps: int | None
    board_time_ms: float | None
    capacity_bytes: int
    capacity_from: str
    host_bandwidth: int | None
    host_bandwidth_from: str | None
    layers: int
    footprint: Sizes
    by_layer: list[Sizes]
    regime: str
    regimes: list[RegimePlan]
    resident_up_to_layers: int | None
    kv_swap_up_to_layers: int | None
    projected: LayerPlan | None = None
    assumptions: tuple[str, ...] = ASSUMPTIONS
    warnings: list[str] = []


class _Traffic(msgspec.Struct, frozen=True):
    """64-byte blocks and swaps of one group of regions, each counted once."""

    lines: int = 0
    swap_bytes: int = 0
    swap_ns: int = 0

    def scaled(self, numerator: int, denominator: int) -> _Traffic:
        """Scale in proportion, rounded down: still a lower bound."""
        return _Traffic(*(getattr(self, name) * numerator // denominator for name in self.__struct_fields__))

    def __add__(self, other):
        return _Traffic(self.lines + other.lines, self.swap_bytes + other.swap_bytes, self.swap_ns + other.swap_ns)


def find_manifest(build: str | os.PathLike, board: Board) -> Manifest:
    """Find the manifest of a build directory, or load a manifest file.

    A directory without `weight_manifest.json` but with `hbm_addrs.json` gets one made in memory (§6.3).
    Raises `EmuError`.

    Returns
    -------
    Manifest
    """
    build = os.fspath(build)
    path = os.path.join(build, "weight_manifest.json") if os.path.isdir(build) else build
    if os.path.lexists(path) or not os.path.isdir(build):
        return load_manifest(path)
    if not os.path.lexists(os.path.join(build, "hbm_addrs.json")):
        raise EmuError(f"{build}: found neither weight_manifest.json nor hbm_addrs.json, expected one of them")
    from ..manifests.generate import make_manifest

    return make_manifest(build, board)


def make_plan(
    manifest: Manifest,
    board: Board,
    overlay: Overlay = NOTHING_ASKED,
    total_layers: int | None = None,
    *,
    board_named: bool = False,
    compute: ComputeCycles | None = None,
    isa: str = "base",
) -> Plan:
    """Plan a manifest on a board (§10.1).

    Parameters
    ----------
    overlay : Overlay
        What is asked for in place of the board's values.
    total_layers : int, optional
        Also plan for so many layers.
    board_named : bool
        Whether somebody chose the board: its capacity counts before the manifest's then.
    compute : ComputeCycles or None
        Core cycles that the build's program computes.
    isa : str
        Revision, which some parts have figures of their own for.

    Returns
    -------
    Plan

    Raises
    ------
    EmuError
        The memory part is missing or malformed, or cannot be at the data rate that was asked for.
    """
    asked = None if overlay.ddr_capacity is None else Choice(overlay.ddr_capacity, overlay.called("ddr_capacity"))
    first = asked or (available_capacity(board) if board_named else None)
    regime, capacity = decide_regime("auto", manifest, asked, available_capacity(board), first)
    assert capacity is not None  # `auto` compares with one
    part = open_part(board, overlay)
    laid_over = _laid_over(board, overlay, part, manifest, board_named)
    board = lay_over(board, overlay)[0]
    pace = pace_of(part.description if part else None, isa)
    period, is_exact = board.core_period
    compute_ps = None if compute is None else compute.total * period
    # None: only the times need it here.
    link = resolve_bandwidth(overlay.host_bandwidth, board, overlay.called("host_bandwidth"))
    found = footprint(manifest.regions)
    layers = max(1, layer_count(manifest.regions))
    projected = None
    if total_layers is not None:
        grown = project_regions(manifest.regions, total_layers)
        cycles = compute.at(total_layers) if compute is not None and compute.layers == layers else None
        grown_ps = None if cycles is None else cycles * period
        projected = LayerPlan(
            layers=total_layers, footprint=_sizes(grown), regime=choose_regime(grown, capacity.value),
            compute_ps=grown_ps,
            regimes=_regimes(manifest, grown, link, total_layers, layers, pace, grown_ps or 0),
        )
    regimes = _regimes(manifest, found, link, layers, layers, pace, compute_ps or 0)
    chosen = next(row for row in regimes if row.regime == regime)
    return Plan(
        manifest=manifest.source,
        board=board.name,
        clock_mhz=board.clock_mhz,
        core_period_ps=period,
        core_period_exact=is_exact,
        part=part.record(isa) if part else None,
        laid_over=laid_over,
        compute_ps=compute_ps,
        memory_ps=chosen.memory_ps,
        board_time_ps=chosen.run_ps,
        board_time_ms=None if chosen.run_ps is None else chosen.run_ps / 1e9,
        capacity_bytes=capacity.value,
        capacity_from=capacity.origin,
        host_bandwidth=link and link.value,
        host_bandwidth_from=link and link.origin,
        layers=layers,
        footprint=_sizes(found),
        by_layer=_by_layer(manifest),
        regime=regime,
        regimes=regimes,
        resident_up_to_layers=_most_layers(lambda n: project_regions(manifest.regions, n).total, capacity.value),
        kv_swap_up_to_layers=_most_layers(lambda n: project_regions(manifest.regions, n).weight, capacity.value),
        projected=projected,
        warnings=[*manifest.warnings, *([capacity.warning] if capacity.warning else []),
                  *([] if part else [no_part_warning(board, overlay)]),
                  *_without_link(board, overlay, link, regime, found.total, capacity)],
    )


def _laid_over(board, overlay, part, manifest, board_named):
    """List what is laid over the board; a capacity takes the place of the manifest's where no board was named."""
    found = lay_over(board, overlay)[1]
    if part is None:
        found = without(found, ["ddr_speed"], overlay)
    own = manifest.ddr_capacity_bytes
    if board_named or own is None:
        return list(found)
    return [msgspec.structs.replace(one, before=str(own)) if one.flag == overlay.called("ddr_capacity") else one
            for one in found]


def _without_link(board, overlay, link, regime, total, capacity):
    """Say where `run` refuses what is planned: the board has no host link, and not everything fits."""
    if link is not None or regime == "resident":
        return []
    return [f"{no_link_misfit(board, total, capacity)}; run refuses it, and {regime} has no times, without"
            f" {overlay.called('host_bandwidth')}"]


def _sizes(found: Footprint, layer_id=None):
    return Sizes(layer_id=layer_id, weight=found.weight, kv=found.kv, activation=found.activation, total=found.total)


def _by_layer(manifest):
    ids = sorted({region.layer_id for region in manifest.regions})
    return [_sizes(footprint(r for r in manifest.regions if r.layer_id == layer), layer) for layer in ids]


def _traffic(manifest, bandwidth):
    """Count (weight, kv, activation) traffic when every region is read once."""
    lines = owned_lines(manifest.regions)
    found = {kind: _Traffic(sum(n for n, region in zip(lines, manifest.regions, strict=True) if region.kind == kind))
             for kind in ("weight", "kv", "activation")}
    # A region is known by its offset (§3.9); of two at one offset the smaller may be the only one ever swapped.
    swapped = {}
    for n, region in zip(lines, manifest.regions, strict=True):
        if n and region.kind != "weight":
            kept = swapped.get(region.offset, region)
            swapped[region.offset] = min(kept, region, key=lambda one: one.size)
    for region in swapped.values():
        wait = transfer_ns(region.size, bandwidth) if bandwidth else 0
        found[region.kind] += _Traffic(0, region.size, wait)
    return found["weight"], found["kv"], found["activation"]


def _regimes(manifest, sizes, link, numerator, denominator, pace: MemoryPace, compute_ps):
    """Bound the three regimes for `numerator` / `denominator` times the layers of the manifest."""
    bandwidth = link and link.value
    weight, kv, activation = _traffic(manifest, bandwidth)
    weight, kv = weight.scaled(numerator, denominator), kv.scaled(numerator, denominator)
    moved = kv + activation
    bus = pace.bus_ps(weight.lines + moved.lines)
    line_ns = transfer_ns(LINE, bandwidth) if bandwidth else 0
    streamed_ns = weight.lines * line_ns
    serial_ps = weight.lines * (1000 * line_ns + pace.read_ps)

    def bounds(regime, possible_from_bytes, link_bytes, link_ns, memory_ps):
        if link_bytes and bandwidth is None:
            link_ns = memory_ps = None
        run_ps = None if memory_ps is None else compute_ps + memory_ps
        return RegimePlan(regime=regime, possible_from_bytes=possible_from_bytes, link_bytes=link_bytes,
                          link_ns=link_ns, memory_ps=memory_ps, run_ps=run_ps)

    return [
        bounds("resident", sizes.total, 0, 0, bus),
        bounds("kv-swap", sizes.weight, moved.swap_bytes, moved.swap_ns, max(bus, 1000 * moved.swap_ns)),
        bounds("weight-stream", 0, LINE * weight.lines, streamed_ns, max(bus, serial_ps)),
    ]


def _most_layers(size, capacity):
    """Find the largest n with size(n) <= capacity for a size that does not fall with n; None where every n fits."""
    if size(1) > capacity:
        return 0
    low, high = 1, 2
    while size(high) <= capacity:
        low, high = high, 2 * high
        if high > 2**64:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= capacity else (low, middle)
    return low
