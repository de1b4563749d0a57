"""What a board decides about a run beyond its settings: DDR capacity and host bandwidth (spec §6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .errors import UsageError

if TYPE_CHECKING:
    from .boards.schema import Board


class Choice(NamedTuple):
    """A value, what it came from, and a warning where it overruled a flag."""

    value: int
    origin: str
    warning: str | None = None


def resolve_capacity(own: int | None, flag: int | None, board: Board, flag_name: str = "--ddr-capacity") -> Choice:
    """Bytes of DDR: the manifest's `own`, else the flag, else the board's (§6.2)."""
    if own is not None:
        warning = None
        if flag is not None and flag != own:
            warning = f"{flag_name} {flag} is not used: the weight manifest states {own} bytes, which counts"
        return Choice(own, "weight manifest", warning)
    if flag is not None:
        return Choice(flag, flag_name)
    return Choice(board.ddr_capacity_bytes, f"board {board.name}")


def resolve_bandwidth(flag: int | None, board: Board, model: str) -> Choice:
    """Bytes/s of the host link: the flag, else the board's sustained bandwidth (§6.2).

    Raises `UsageError` when the board has no link and none was given; `model` is what needs it.
    """
    if flag is not None:
        return Choice(flag, "--host-bandwidth")
    if board.host_bandwidth is None:
        raise UsageError(f"board {board.name} has no host link: {model} needs --host-bandwidth")
    return Choice(board.host_bandwidth, f"board {board.name}")
