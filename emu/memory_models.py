"""From a run request to its memory model."""

from .errors import EmuError
from .manifests.schema import load_manifest
from .memory import BoardMemory
from .request import RunRequest


def open_model(request: RunRequest, board, shapes):
    """Memory model of a request: `board` supplies capacity and bandwidth, `shapes` are the run's DMA shapes.

    Raises
    ------
    EmuError
        A model without its weight manifest, or a malformed one.
    """
    model = request.memory_model
    if model == "hbm":
        raise EmuError("--memory-model hbm: its timing is not available yet; choose another model")
    if request.weight_manifest is None:
        raise EmuError(f"--memory-model {model}: needs --weight-manifest FILE")
    manifest = load_manifest(request.weight_manifest)
    capacity = board.capacity(manifest)
    return BoardMemory(model, manifest, shapes, capacity, board.bandwidth(model))
