"""Regime planning from a weight manifest alone: footprints, thresholds, lower bounds (spec §3.9, §6.3).

The bounds hold for every run that reads each region in full at least once and whose prefetches each read from
one region only (compiled programs do both: a tensor is a region, and a prefetch belongs to one tensor):

- *resident*: each 64-byte block passes the one DDR data bus, 4 tCK apiece (§3.5). True in every regime.
- *kv-swap*: the first read of each kv and activation region waits for the whole region (§3.9); prefetches run one
  after the other, so these waits add up.
- *weight-stream*: each block of a weight region takes the link for its transfer and for its DDR read, which are at
  least a command slot, CAS and a burst; these are serial (§3.9).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from .errors import EmuError
from .manifests.capacity import Choice, decide_regime
from .manifests.footprint import (
    LINE,
    Footprint,
    choose_regime,
    footprint,
    layer_count,
    owned_lines,
    project_regions,
    transfer_ns,
)
from .manifests.schema import Manifest, load_manifest
from .running.platform import available_capacity, resolve_bandwidth

if TYPE_CHECKING:
    from .boards.schema import Board

TCK_PS = 833  # §3.5
BURST_PS = 4 * TCK_PS
READ_PS = TCK_PS + 16 * TCK_PS + BURST_PS  # command, CAS, burst: a row hit
ASSUMPTIONS = (
    "every region is read in full at least once",
    "no prefetch reads from two regions",
)


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes by kind; `layer_id` is None for the sum of all layers."""

    layer_id: int | None = None
    weight: int
    kv: int
    activation: int
    total: int


class RegimePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One regime: the smallest capacity `auto` enters it at, and lower bounds of what it costs.

    `link_bytes` go over the host link at least and take `link_ns` there; the run takes `run_ps` at least. The two
    times are None where they depend on a link whose bandwidth is not known.
    """

    regime: str
    possible_from_bytes: int
    link_bytes: int
    link_ns: int | None
    run_ps: int | None


class LayerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Footprint, regime and bounds at another number of layers: weight and kv in proportion, activations as here."""

    layers: int
    footprint: Sizes
    regime: str
    regimes: list[RegimePlan]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of the planner.

    `resident_up_to_layers` and `kv_swap_up_to_layers` are the most layers that stay in a regime at this capacity
    (0: not even one; None: any number).
    """

    manifest: str
    board: str
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
    from .manifests.generate import make_manifest

    return make_manifest(build, board)


def make_plan(
    manifest: Manifest,
    board: Board,
    ddr_capacity: int | None = None,
    host_bandwidth: int | None = None,
    total_layers: int | None = None,
) -> Plan:
    """Plan a manifest on a board; flags that are None leave the value to manifest and board (§6.2).

    Returns
    -------
    Plan
    """
    asked = None if ddr_capacity is None else Choice(ddr_capacity, "--ddr-capacity")
    regime, capacity = decide_regime("auto", manifest, asked, available_capacity(board))
    assert capacity is not None  # `auto` compares with one
    link = resolve_bandwidth(host_bandwidth, board)  # None: only the times need it here
    found = footprint(manifest.regions)
    layers = max(1, layer_count(manifest.regions))
    projected = None
    if total_layers is not None:
        grown = project_regions(manifest.regions, total_layers)
        projected = LayerPlan(
            layers=total_layers, footprint=_sizes(grown), regime=choose_regime(grown, capacity.value),
            regimes=_regimes(manifest, grown, link, total_layers, layers),
        )
    return Plan(
        manifest=manifest.source,
        board=board.name,
        capacity_bytes=capacity.value,
        capacity_from=capacity.origin,
        host_bandwidth=link and link.value,
        host_bandwidth_from=link and link.origin,
        layers=layers,
        footprint=_sizes(found),
        by_layer=_by_layer(manifest),
        regime=regime,
        regimes=_regimes(manifest, found, link, layers, layers),
        resident_up_to_layers=_most_layers(lambda n: project_regions(manifest.regions, n).total, capacity.value),
        kv_swap_up_to_layers=_most_layers(lambda n: project_regions(manifest.regions, n).weight, capacity.value),
        projected=projected,
        warnings=[*manifest.warnings, *([capacity.warning] if capacity.warning else [])],
    )


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


def _regimes(manifest, sizes, link, numerator, denominator):
    """Bound the three regimes for `numerator` / `denominator` times the layers of the manifest."""
    bandwidth = link and link.value
    weight, kv, activation = _traffic(manifest, bandwidth)
    weight, kv = weight.scaled(numerator, denominator), kv.scaled(numerator, denominator)
    moved = kv + activation
    bus = (weight.lines + moved.lines) * BURST_PS
    line_ns = transfer_ns(LINE, bandwidth) if bandwidth else 0
    streamed_ns = weight.lines * line_ns
    serial_ps = weight.lines * (1000 * line_ns + READ_PS)
    timed = bandwidth is not None
    return [
        RegimePlan(regime="resident", possible_from_bytes=sizes.total, link_bytes=0, link_ns=0, run_ps=bus),
        RegimePlan(
            regime="kv-swap", possible_from_bytes=sizes.weight, link_bytes=moved.swap_bytes,
            link_ns=moved.swap_ns if timed else None, run_ps=max(bus, 1000 * moved.swap_ns) if timed else None,
        ),
        RegimePlan(
            regime="weight-stream", possible_from_bytes=0, link_bytes=LINE * weight.lines,
            link_ns=streamed_ns if timed else None, run_ps=max(bus, serial_ps) if timed else None,
        ),
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
