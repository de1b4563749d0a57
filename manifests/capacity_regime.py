"""Which DDR capacity counts for a memory model, and which regime follows (spec §3.8, §3.9, §6.2).

The one place of this decision: runs, plans and reports all ask `decide_regime`. Which of a flag, a board and a default
is handed to it follows from the command: `platform` of `plena_emu.running`.
"""

from typing import NamedTuple

from .footprint import REGIMES, Footprint, footprint
from .schema import Manifest

LINK_REGIMES = ("host-stream", "layer-swap", "kv-swap", "weight-stream")  # those that move data over the host link
_BY_CAPACITY = ("auto", *REGIMES)  # models that compare footprints with the capacity (§3.9)


def choose_regime(found: Footprint, capacity: int) -> str:
    """Choose the regime of `auto` at `capacity` bytes of DDR (§3.9).

    Returns
    -------
    str
    """
    if found.total <= capacity:
        return "resident"
    return "kv-swap" if found.weight <= capacity else "weight-stream"


class Choice(NamedTuple):
    """A value, what it came from, and a warning where it overruled a flag."""

    value: int
    origin: str
    warning: str | None = None


class Decision(NamedTuple):
    """What a memory model settles on; `capacity` is None where DDR capacity plays no part."""

    regime: str
    capacity: Choice | None


def decide_regime(model: str, manifest: Manifest, asked: Choice | None, otherwise: Choice,
                  first: Choice | None = None) -> Decision:
    """Decide which capacity counts and which regime follows.

    The capacity regimes take `first` where there is one (§10.1), else the manifest's own capacity, then what was asked
    for (§3.9); `layer-swap` never looks at the manifest's (§3.8); `host-stream` and `hbm` use none.

    Parameters
    ----------
    model : str
        A member of `plena_emu.request.MEMORY_MODELS`.
    asked : Choice or None
        Bytes that a flag or a caller named, with its name as origin.
    otherwise : Choice
        Bytes of the board, else the default (§6.2, §5.1).
    first : Choice or None
        Bytes that count before the manifest's own: those of a board that was named, or asked for with one.

    Returns
    -------
    Decision
    """
    if model in _BY_CAPACITY:
        own = manifest.ddr_capacity_bytes
        capacity = _first(own, asked, otherwise) if first is None else _over_manifest(own, first)
        return Decision(choose_regime(footprint(manifest.regions), capacity.value) if model == "auto" else model,
                        capacity)
    return Decision(model, (first or asked or otherwise) if model == "layer-swap" else None)


def _over_manifest(own, first):
    """Choose `first`; says so where the manifest states other bytes."""
    warning = None
    if own is not None and own != first.value:
        warning = f"the weight manifest's DDR capacity of {own} bytes is not used: {first.origin} says {first.value}"
    return first._replace(warning=warning)


def _first(own, asked, otherwise):
    """Choose between the manifest's `own` bytes, those asked for and the rest, in this order."""
    if own is None:
        return asked or otherwise
    warning = None
    if asked is not None and asked.value != own:
        warning = f"{asked.origin} {asked.value} is not used: the weight manifest states {own} bytes, which counts"
    return Choice(own, "weight manifest", warning)
