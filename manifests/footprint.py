"""Footprints of a manifest and the regime they lead to (spec §3.6, §3.9, §6.3)."""

from collections.abc import Iterable
from typing import NamedTuple

from .schema import Region

REGIMES = ("resident", "kv-swap", "weight-stream")


class Footprint(NamedTuple):
    """Bytes by kind of region."""

    weight: int
    kv: int
    activation: int

    @property
    def total(self) -> int:
        return self.weight + self.kv + self.activation


def footprint(regions: Iterable[Region]) -> Footprint:
    """Sum of region sizes by kind (§3.6)."""
    sums = {"weight": 0, "kv": 0, "activation": 0}
    for region in regions:
        sums[region.kind] += region.size
    return Footprint(**sums)


def choose_regime(found: Footprint, capacity: int) -> str:
    """What `auto` chooses at `capacity` bytes of DDR (§3.9)."""
    if found.total <= capacity:
        return "resident"
    return "kv-swap" if found.weight <= capacity else "weight-stream"


def layer_ids(regions: Iterable[Region]) -> list[int]:
    """Distinct layer ids among weight and kv regions, ascending."""
    return sorted({region.layer_id for region in regions if region.kind != "activation"})


def project(found: Footprint, layers: int, total_layers: int) -> Footprint:
    """Footprint of `total_layers` layers from that of `layers` (§6.3): weight and kv in proportion, rounded up
    to a byte, activations as they are. A floor: activations may grow."""
    weight, kv = (-(-count * total_layers // max(layers, 1)) for count in (found.weight, found.kv))
    return Footprint(weight, kv, found.activation)
