"""Latency over DDR capacity: timing-only runs around the edges where the regime changes (spec §3.9)."""

import os
import tempfile
from typing import NamedTuple

import msgspec

from ..errors import EmuError
from ..interrupts import unwinding
from ..logs import Log
from ..manifests.footprint import footprint
from ..manifests.generate import manifest_json
from ..request import RunRequest
from .runner import execute

_SHARES = (0.125, 0.25, 0.5, 0.75)  # of the weights
_BEYOND = (1.5, 2)  # of everything


class CapacityPoint(NamedTuple):
    """A run with the memory model `auto`: bytes of DDR, what it settled on, its latency."""

    capacity_bytes: int
    regime: str
    latency_ps: int


class CapacityCurve(msgspec.Struct, kw_only=True):
    """Latency over capacity, by capacity, and the edges: bytes of the weights, and of everything."""

    points: list[CapacityPoint]
    weight_bytes: int
    total_bytes: int


def capacity_curve(request: RunRequest) -> CapacityCurve:
    """Run a program once for each of a dozen DDR capacities.

    Parameters
    ----------
    request : RunRequest
        Of the model `auto`, with a weight manifest or with a board and the tables of a build; it is run without data.

    Returns
    -------
    CapacityCurve

    Raises
    ------
    EmuError
        The program cannot run without data, or has no regions.
    """
    from ..config.settings import find_settings
    from .platform import resolve_platform

    settings = find_settings(request.settings_path, os.environ, origin=request.settings_origin)
    manifest = resolve_platform(request, settings).manifest
    sizes = footprint(manifest.regions)
    if not sizes.total:
        raise EmuError(f"{manifest.source}: found no regions, a capacity curve needs some")
    capacities = {sizes.total, sizes.total - 1, *(int(share * sizes.total) for share in _BEYOND)}
    capacities |= {sizes.weight, max(sizes.weight - 1, 0), *(int(share * sizes.weight) for share in _SHARES)}
    capacities.add((sizes.weight + sizes.total) // 2)
    with unwinding(), tempfile.TemporaryDirectory() as folder:
        points = [_point(request, manifest, capacity, os.path.join(folder, "manifest.json"))
                  for capacity in sorted(capacities)]
    return CapacityCurve(points=points, weight_bytes=sizes.weight, total_bytes=sizes.total)


def _point(request, manifest, capacity, path):
    """One run; the capacity goes into a manifest of its own: without a board the manifest's counts, else the flag's."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(manifest_json(msgspec.structs.replace(manifest, ddr_capacity_bytes=capacity)))
    changes = {"weight_manifest": path, "tables_dir": None, "memory_model": "auto", "timing_only": True,
               "stages": False, "dump_dir": None, "timeline": None, "progress": None, "ddr_capacity": capacity}
    result = execute(RunRequest(**(vars(request) | changes)), Log("off"))
    return CapacityPoint(capacity, str(result.regime), result.latency_ps)
