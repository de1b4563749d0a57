"""Write a settings file for a board: latencies and DC_EN from the board, layout and comments kept.

  plena-emu board-settings plena_settings.toml --board custom_a7 -o build/plena_settings.toml

Without -o, or with -o -, the text goes to standard output. Geometry flags are for builds that are yet to be compiled:
HBM_M_Prefetch_Amount and HBM_WIDTH follow MLEN, the vector amounts follow BLEN, and all of them are
written to BEHAVIOR.CONFIG as well.
"""

from ..config.units import parse_count
from .flags import Once, output, path, typed

GEOMETRY_FLAGS = ("mlen", "vlen", "blen", "hlen", "broadcast-amount")


def configure(parser):
    """Add the arguments of the command."""
    parser.add_argument("base", metavar="SETTINGS", type=path, help="the settings file to start from")
    parser.add_argument("--board", required=True, metavar="NAME", action=Once,
                        help="a board that ships, or the path of a board file")
    parser.add_argument("--latency-profile", metavar="NAME", action=Once,
                        help="lay a latency profile over the board")
    parser.add_argument("-o", "--output", metavar="FILE", type=output, action=Once,
                        help="where to write (default, or -: standard output)")
    for flag in GEOMETRY_FLAGS:
        key = flag.upper().replace("-", "_")
        parser.add_argument(f"--{flag}", type=typed(parse_count), action=Once, metavar="N", dest=key, help=f"set {key}")


def run(args):
    """Write the settings; 0."""
    import sys

    from ..atomic_files import check_outputs, write_whole
    from ..boards import load_board
    from ..config.apply_board import GEOMETRY_KEYS, apply_board_with_changes
    from ..config.settings import parse_settings
    from ..errors import EmuError
    from ..inputs.text import read_text

    board_files = [("--board", args.board), ("--latency-profile", args.latency_profile)]
    check_outputs([("-o", args.output)], [("SETTINGS", args.base), *board_files])
    board = load_board(args.board, args.latency_profile)
    geometry = {key: getattr(args, key) for key in GEOMETRY_KEYS if getattr(args, key) is not None}
    text, changes = apply_board_with_changes(read_text(args.base, "settings"), board, geometry, args.base)
    try:
        parse_settings(text, args.base, "SETTINGS")
    except EmuError as error:  # a base may lack what another tool fills in
        print(f"plena-emu: warning: no run takes these settings yet: {error}", file=sys.stderr)
    if args.output is None:
        sys.stdout.write(text)
        return 0
    write_whole(args.output, text.encode(), "settings")
    count = f"{len(changes)} {'value' if len(changes) == 1 else 'values'}"
    print(f"Wrote {args.output}: {args.base} with board {board.name}, {count} changed")
    for change in changes:
        print(f"  {change.key}: {'nothing' if change.before is None else change.before} -> {change.after}")
    return 0
