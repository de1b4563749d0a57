"""Say what a model will cost on a board, from its weight manifest alone.

  plena-emu plan BUILD --board nexys_video --total-layers 32

BUILD is a build directory or a manifest file. Shows footprints, the regime `auto` will choose, the smallest
capacity of each regime, and lower bounds of link traffic and run time. Nothing is emulated and nothing written.
"""

from ..boards import DEFAULT_BOARD
from ..config.units import parse_bandwidth, parse_size
from .flags import Once, path, typed
from .manifest import positive


def configure(parser):
    """Add the arguments of the command."""
    parser.add_argument("build", metavar="BUILD", type=path, help="build directory or weight manifest")
    parser.add_argument("--board", default=DEFAULT_BOARD, metavar="NAME", action=Once,
                        help=f"a board that ships, or the path of a board file (default: {DEFAULT_BOARD})")
    parser.add_argument("--ddr-capacity", metavar="SIZE", type=typed(parse_size), action=Once,
                        help="DDR capacity, where the manifest states none (default: the board's)")
    parser.add_argument("--host-bandwidth", metavar="N", type=typed(parse_bandwidth), action=Once,
                        help="host link in bytes/s (default: the board's)")
    parser.add_argument("--total-layers", metavar="N", type=typed(positive), action=Once,
                        help="also plan for N layers")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(args):
    """Print the plan; 0."""
    import sys

    from ..boards import load_board
    from ..planning import find_manifest, make_plan
    from ..report.plan import plan_text
    from ..report.table import terminal_width
    from ..result import record_json

    board = load_board(args.board)
    manifest = find_manifest(args.build, board)
    plan = make_plan(manifest, board, args.ddr_capacity, args.host_bandwidth, args.total_layers)
    if args.json:
        sys.stdout.write(record_json("plan", plan, args.command_line).decode())
    else:
        print(plan_text(plan, terminal_width(sys.stdout)))
    return 0
