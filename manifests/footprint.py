"""What follows from the regions alone: owners of addresses, footprints, transfer times (spec §3.6, §3.9)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .schema import Region

REGIMES = ("resident", "kv-swap", "weight-stream")
LINE = 64  # bytes of an access
TOP = 2**64  # end of the address space


class Footprint(NamedTuple):
    """Bytes by kind of region."""

    weight: int
    kv: int
    activation: int

    @property
    def total(self) -> int:
        return self.weight + self.kv + self.activation


def footprint(regions: Iterable[Region]) -> Footprint:
    """Sum region sizes by kind (§3.6).

    Returns
    -------
    Footprint
    """
    sums = {"weight": 0, "kv": 0, "activation": 0}
    for region in regions:
        sums[region.kind] += region.size
    return Footprint(**sums)



def layer_ids(regions: Iterable[Region]) -> list[int]:
    """List the distinct layer ids among weight and kv regions, ascending.

    Returns
    -------
    list of int
    """
    return sorted({region.layer_id for region in regions if region.kind != "activation"})


def head_of(regions: Sequence[Region]) -> Region | None:
    """Find the LM head: the only region of the highest layer, a weight, where every layer below has a cache (§9.3).

    Returns
    -------
    Region or None
    """
    layers = layer_ids(regions)
    if len(layers) < 2:
        return None
    last = [region for region in regions if region.layer_id == layers[-1] and region.kind != "activation"]
    cached = {region.layer_id for region in regions if region.kind == "kv"}
    return last[0] if len(last) == 1 and last[0].kind == "weight" and cached == set(layers[:-1]) else None


def layer_count(regions: Sequence[Region]) -> int:
    """Count the layers among weight and kv regions; an LM head is none."""
    return len(layer_ids(regions)) - (head_of(regions) is not None)


def project_regions(regions: Sequence[Region], total_layers: int) -> Footprint:
    """Project the footprint of a manifest to `total_layers` layers; the LM head stays one (§6.3, §9.3).

    Returns
    -------
    Footprint
    """
    head = head_of(regions)
    layered = [region for region in regions if region is not head]
    grown = project(footprint(layered), layer_count(regions), total_layers)
    return grown if head is None else grown._replace(weight=grown.weight + head.size)


def project(found: Footprint, layers: int, total_layers: int) -> Footprint:
    """Project the footprint of `layers` layers to `total_layers` (§6.3).

    Weight and kv grow in proportion, rounded up to a byte, activations stay as they are: a floor, as they may grow.

    Returns
    -------
    Footprint
    """
    weight, kv = (-(-count * total_layers // max(layers, 1)) for count in (found.weight, found.kv))
    return Footprint(weight, kv, found.activation)


def transfer_ns(size: int, bandwidth: int) -> int:
    """Work out the nanoseconds of `size` bytes at `bandwidth` bytes/s, rounded down (§3.6).

    Returns
    -------
    int
    """
    return size * 10**9 // bandwidth


def first_regions(regions: Sequence[Region]) -> list[tuple[int, int | None]]:
    """Cut the address space into ascending pieces.

    Returns
    -------
    list of (int, int or None)
        First address, and the index of the first region that contains it, or None.
    """
    cuts = sorted({0, *(edge for region in regions for edge in (region.offset, region.end) if edge < TOP)})
    position = {cut: k for k, cut in enumerate(cuts)}
    owner: list[int | None] = [None] * len(cuts)
    # Next piece without an owner, with path halving: every piece is given away once however regions overlap.
    free = list(range(len(cuts) + 1))
    for index, region in enumerate(regions):
        end = position.get(region.end, len(cuts)) if region.size else 0
        k = _next_free(free, position[region.offset])
        while k < end:
            owner[k] = index
            free[k] = k + 1
            k = _next_free(free, k)
    return list(zip(cuts, owner, strict=True))


def _next_free(free, k):
    while free[k] != k:
        free[k] = free[free[k]]
        k = free[k]
    return k


def owned_lines(regions: Sequence[Region]) -> list[int]:
    """Count for each region the aligned 64-byte blocks whose address belongs to it (§3.6).

    Returns
    -------
    list of int
    """
    counts = [0] * len(regions)
    pieces = first_regions(regions)
    for (start, index), (end, _) in zip(pieces, [*pieces[1:], (TOP, None)], strict=True):
        if index is not None:
            counts[index] += -(-end // LINE) - -(-start // LINE)
    return counts
