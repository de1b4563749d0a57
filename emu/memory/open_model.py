"""From a run request to its memory model."""

from ..manifests.schema import Manifest
from .models import BoardMemory
from ..request import RunRequest


def open_model(request: RunRequest, board, shapes):
    """Memory model of a request: `board` supplies capacity and bandwidth, `shapes` are the run's DMA shapes.

    Raises
    ------
    EmuError
        A model without its weight manifest, or a malformed one.
    """
    model = request.memory_model
    if model == "hbm":
        no_manifest = Manifest(activation_ceiling=0)
        return BoardMemory(model, no_manifest, shapes, 0, 1, request.dram, request.isa, request.memo)
    manifest = board.open_manifest()
    capacity, bandwidth = board.choose_limits(manifest)
    return BoardMemory(model, manifest, shapes, capacity, bandwidth, request.dram, request.isa, request.memo)
