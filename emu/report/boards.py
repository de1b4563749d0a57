"""The list of boards and the page of one, as `plena-emu boards` shows them."""

import msgspec

from ..boards.schema import Board
from .quantities import size
from .table import Block, Table, pairs, render


def boards_text(boards: list[Board], default: str, profiles: list[str], width: int | None = None) -> str:
    """Write the list of boards, a line each.

    Parameters
    ----------
    default : str
        Name of the board that is taken where none is named.
    profiles : list of str
        Names of the latency profiles.
    width : int, optional
        Columns of the terminal; None where lines may be as long as they are.

    Returns
    -------
    str
    """
    rows = [(board.name, f"{board.clock_mhz:g} MHz", size(board.ddr_capacity_bytes), board.memory.dram or "none",
             _link(board), board.description + (" (default)" if board.name == default else "")) for board in boards]
    table = Table(rows, "lrrlll", ("board", "clock", "memory", "part", "host link", "description"))
    return render([table, "", f"latency profiles: {', '.join(profiles)}"], width)


def board_text(board: Board, width: int | None = None) -> str:
    """Write every key of a board; number formats the way the settings show them (`e4m3`, `ue8m0`).

    Returns
    -------
    str
    """
    blocks: list[Block] = []
    plain = []
    for key, value in msgspec.to_builtins(board).items():
        if isinstance(value, dict):
            blocks += [f"{key}:", pairs([(f"{inner}:", _flat(found)) for inner, found in value.items()], indent=2)]
        elif isinstance(value, list | tuple):
            blocks += [f"{key}:", *(f"  {_flat(item)}" for item in value)]
        else:
            plain.append((f"{key}:", _flat(value)))
    return render([pairs(plain), *blocks], width)


def _flat(value):
    """Write a nested value on one line."""
    if isinstance(value, dict):
        if value.get("type") == "Fp":
            return f"{'' if value['sign'] else 'u'}e{value['exponent']}m{value['mantissa']}"
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items())
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value)


def _link(board):
    return f"{board.host_link.type}, {board.host_bandwidth / 1e6:g} MB/s" if board.host_link else "none"
