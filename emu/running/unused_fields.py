"""What a request says that its run does not use: nothing is ignored without a line (spec §10.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.build_dir import ORIGIN
from ..manifests.capacity_regime import LINK_REGIMES

if TYPE_CHECKING:
    from ..manifests.capacity_regime import Choice
    from ..manifests.schema import Manifest
    from ..request import RunRequest

_NO_CAPACITY = ("hbm", "host-stream")


def unused_fields(request: RunRequest, model: str, regime: str, manifest: Manifest,
                  capacity: Choice | None) -> list[str]:
    """List the fields that the memory model, or a run without dumps, leaves unused, one line each.

    Parameters
    ----------
    model, regime : str
        The memory model of the run, and what it settled on.
    manifest : Manifest
        Whose capacity layer-swap never looks at (§3.8).
    capacity : Choice or None
        The capacity that counts.

    Returns
    -------
    list of str
    """
    called = request.called
    settled = f"the memory model {model}" if model == regime else f"{model} settled on {regime}, which"
    lines = []
    if request.host_bandwidth is not None and regime not in LINK_REGIMES:
        lines.append(f"{called('host_bandwidth')} is not used: {settled} moves nothing over the host link")
    if request.ddr_capacity is not None and regime in _NO_CAPACITY:
        lines.append(f"{request.ddr_capacity_origin} is not used: {settled} has no capacity")
    own = manifest.ddr_capacity_bytes
    if regime == "layer-swap" and capacity is not None and own not in (None, capacity.value):
        lines.append(f"the weight manifest's DDR capacity of {own} bytes is not used: layer-swap takes that of"
                     f" {capacity.origin}, {capacity.value}")
    if request.weight_manifest is not None and regime == "hbm" and request.weight_manifest_origin != ORIGIN:
        lines.append(f"{called('weight_manifest')} is not used: the memory model hbm has no regions")
    if request.dump_hbm and (regime != "hbm" or request.timing_only or request.dump_dir is None):
        why = "the run writes no dumps" if regime == "hbm" else f"{settled} writes no hbm_dump.bin (§5.4)"
        lines.append(f"{called('dump_hbm')} is not used: {why}")
    return lines
