"""Which DDR capacity counts for a memory model, and which regime follows (spec §3.8, §3.9, §6.2).

The one place of this decision: runs, plans and reports all ask `decide_regime`.
"""

from typing import NamedTuple

from .footprint import REGIMES, choose_regime, footprint
from .schema import Manifest

LINK_REGIMES = ("host-stream", "layer-swap", "kv-swap", "weight-stream")  # those that move data over the host link
_BY_CAPACITY = ("auto", *REGIMES)  # models that compare footprints with the capacity (§3.9)


class Choice(NamedTuple):
    """A value, what it came from, and a warning where it overruled a flag."""

    value: int
    origin: str
    warning: str | None = None


class Decision(NamedTuple):
    """What a memory model settles on; `capacity` is None where DDR capacity plays no part."""

    regime: str
    capacity: Choice | None


def decide_regime(model: str, manifest: Manifest, asked: Choice | None, otherwise: Choice) -> Decision:
    """Decide which capacity counts and which regime follows.

    The capacity regimes take the manifest's own capacity first, then what was asked for (§3.9); `layer-swap` never
    looks at the manifest's (§3.8); `host-stream` and `hbm` use none.

    Parameters
    ----------
    model : str
        A member of `plena_emu.request.MEMORY_MODELS`.
    asked : Choice or None
        Bytes that a flag or a caller named, with its name as origin.
    otherwise : Choice
        Bytes of the board, else the default (§6.2, §5.1).

    Returns
    -------
    Decision
    """
    if model in _BY_CAPACITY:
        capacity = _first(manifest.ddr_capacity_bytes, asked, otherwise)
        return Decision(choose_regime(footprint(manifest.regions), capacity.value) if model == "auto" else model,
                        capacity)
    return Decision(model, (asked or otherwise) if model == "layer-swap" else None)


def _first(own, asked, otherwise):
    """Choose between the manifest's `own` bytes, those asked for and the rest, in this order."""
    if own is None:
        return asked or otherwise
    warning = None
    if asked is not None and asked.value != own:
        warning = f"{asked.origin} {asked.value} is not used: the weight manifest states {own} bytes, which counts"
    return Choice(own, "weight manifest", warning)
