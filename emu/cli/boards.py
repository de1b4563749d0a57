"""List the boards, or show one: `plena-emu boards` and `plena-emu boards NAME` (a name or a path)."""


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("board", nargs="?", metavar="NAME", help="a board that ships, or the path of a board file")
    parser.add_argument("--latency-profile", metavar="NAME", help="lay a latency profile over the board")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args):
    """Print the list or the board; 0."""
    from ..errors import UsageError

    if args.board is None:
        if args.latency_profile:
            raise UsageError("--latency-profile needs the name of a board")
        _list(args.json)
    else:
        _show(args.board, args.latency_profile, args.json)
    return 0


def _list(as_json):
    import json

    from ..boards import DEFAULT_BOARD, board_names, load_board, profile_names

    boards = [load_board(name) for name in board_names()]
    if as_json:
        rows = [{"name": board.name, "description": board.description, "clock_mhz": board.clock_mhz,
                 "ddr_capacity_bytes": board.ddr_capacity_bytes, "host_bandwidth": board.host_bandwidth,
                 "default": board.name == DEFAULT_BOARD} for board in boards]
        print(json.dumps({"boards": rows, "latency_profiles": profile_names()}, indent=2))
        return
    print(f"{'board':<14}{'clock':>8}  {'memory':>10}  {'host link':<28} description")
    for board in boards:
        clock = f"{board.clock_mhz:g} MHz"
        default = " (default)" if board.name == DEFAULT_BOARD else ""
        print(f"{board.name:<14}{clock:>8}  {_mib(board.ddr_capacity_bytes):>10}  {_link(board):<28} "
              f"{board.description}{default}")
    print(f"\nlatency profiles: {', '.join(profile_names())}")


def _show(name, profile, as_json):
    import json

    import msgspec

    from ..boards import load_board

    board = load_board(name, profile)
    data = msgspec.to_builtins(board)
    if as_json:
        print(json.dumps(data, indent=2))
        return
    for key, value in data.items():
        if isinstance(value, dict):
            print(f"{key}:")
            for inner, found in value.items():
                print(f"  {inner + ':':<31}{_flat(found)}")
        elif isinstance(value, (list, tuple)):
            print(f"{key}:")
            for item in value:
                print(f"  {_flat(item)}")
        else:
            print(f"{key + ':':<33}{value}")


def _flat(value):
    """A nested value on one line; number formats the way the settings show them (`e4m3`, `ue8m0`)."""
    if isinstance(value, dict):
        if value.get("type") == "Fp":
            return f"{'' if value['sign'] else 'u'}e{value['exponent']}m{value['mantissa']}"
        return ", ".join(f"{key} {_flat(inner)}" for key, inner in value.items())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _mib(count):
    return f"{count / 2**30:g} GiB" if count >= 2**30 else f"{count / 2**20:g} MiB"


def _link(board):
    return f"{board.host_link.type}, {board.host_bandwidth / 1e6:g} MB/s" if board.host_link else "none"
