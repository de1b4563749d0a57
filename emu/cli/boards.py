"""List the boards, or show one: `plena-emu boards` and `plena-emu boards NAME` (a name or a path)."""

from .flags import Once


def configure(parser):
    """Add the arguments of the command."""
    parser.add_argument("board", nargs="?", metavar="NAME", help="a board that ships, or the path of a board file")
    parser.add_argument("--latency-profile", metavar="NAME", action=Once, help="lay a latency profile over the board")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args):
    """Print the list or the board; 0."""
    from ..errors import UsageError

    if args.board is None:
        if args.latency_profile:
            raise UsageError("--latency-profile needs the name of a board")
        _list(args)
    else:
        _show(args)
    return 0


def _list(args):
    import sys

    from ..boards import DEFAULT_BOARD, board_names, load_board, profile_names

    boards = [load_board(name) for name in board_names()]
    if args.json:
        from ..result import record_json

        rows = [{"name": board.name, "description": board.description, "clock_mhz": board.clock_mhz,
                 "ddr_capacity_bytes": board.ddr_capacity_bytes, "dram": board.memory.dram,
                 "host_bandwidth": board.host_bandwidth,
                 "default": board.name == DEFAULT_BOARD} for board in boards]
        content = {"boards": rows, "latency_profiles": profile_names()}
        sys.stdout.write(record_json("boards", content, args.command_line).decode())
        return
    from ..report.boards import boards_text
    from ..report.table import terminal_width

    print(boards_text(boards, DEFAULT_BOARD, profile_names(), terminal_width(sys.stdout)))


def _show(args):
    import sys

    from ..boards import load_board
    from ..running.board_part import open_part

    board = load_board(args.board, args.latency_profile)
    open_part(board)  # the file's memory.dram is checked as everything else
    if args.json:
        from ..result import record_json

        sys.stdout.write(record_json("board", board, args.command_line).decode())
        return
    from ..report.boards import board_text
    from ..report.table import terminal_width

    print(board_text(board, terminal_width(sys.stdout)))
