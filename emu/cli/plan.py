"""Say what a model will cost on a board, from its weight manifest alone.

  plena-emu plan BUILD --board nexys_video --total-layers 32

BUILD is a build directory or a manifest file. Shows footprints, the regime `auto` will choose, the smallest
capacity of each regime, and lower bounds of link traffic and of the time on the board: its memory part at its peak, and
where BUILD holds a program its compute time at the board's clock. No memory is emulated and nothing written.
"""

from ..boards import DEFAULT_BOARD
from . import flags
from .flags import Once, add_bandwidth_flag, add_capacity_flag, add_overlay_flags, path, typed
from .manifest import positive


def configure(parser):
    """Add the arguments of the command."""
    parser.add_argument("build", metavar="BUILD", type=path, help="build directory or weight manifest")
    parser.add_argument("--board", metavar="NAME", action=Once,
                        help=f"a board that ships, or the path of a board file (default: {DEFAULT_BOARD})")
    add_capacity_flag(parser, "that of a board that was named, else the manifest's, else the default board's")
    add_bandwidth_flag(parser, "the board's")
    add_overlay_flags(parser, without_board="")
    parser.add_argument("--total-layers", metavar="N", type=typed(positive), action=Once,
                        help="also plan for N layers")
    flags.add_isa_flag(parser)
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(args):
    """Print the plan; 0."""
    import sys

    from ..boards import load_board
    from ..precompile import EXECUTED, make_ready
    from ..profiler.compute_bound import compute_cycles_of, has_program
    from ..report.plan import plan_text
    from ..report.table import terminal_width
    from ..result import record_json
    from ..running.board_part import overlay_of
    from ..running.planning import find_manifest, make_plan

    board = load_board(args.board or DEFAULT_BOARD)
    manifest = find_manifest(args.build, board)
    make_ready(EXECUTED if has_program(args.build) else ())
    isa = flags.revision(args)
    compute, warning = compute_cycles_of(args.build, board, isa)
    plan = make_plan(manifest, board, overlay_of(args), args.total_layers, board_named=args.board is not None,
                     compute=compute, isa=isa)
    plan.warnings.extend(warning)
    if args.json:
        sys.stdout.write(record_json("plan", plan, args.command_line).decode())
    else:
        print(plan_text(plan, terminal_width(sys.stdout)))
    return 0
