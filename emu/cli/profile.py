"""Where a program's cycles go: by instruction type, by opcode and by loop.

  plena-emu profile BUILD --board custom_a7

SOURCE is a build directory, machine code (FILE.mem) or assembly (FILE.asm). The program is executed without data
and without a memory model; --static multiplies by loop counts instead, for text that cannot run. Latencies are the
board's, or with --latencies settings those of the settings file. MLEN and VLEN come from the settings.
"""

from ..boards import DEFAULT_BOARD
from . import flags


def configure(parser):
    """Add the arguments of the command."""
    parser.add_argument("source", metavar="SOURCE", type=flags.path, help="build directory, FILE.mem or FILE.asm")
    parser.add_argument("--board", default=DEFAULT_BOARD, metavar="NAME", action=flags.Once,
                        help=f"a board that ships, or the path of a board file (default: {DEFAULT_BOARD})")
    parser.add_argument("--latency-profile", metavar="NAME", action=flags.Once,
                        help="lay a latency profile over the board")
    parser.add_argument("--latencies", choices=("board", "settings"), default="board", action=flags.Once,
                        help="whose latencies count (default: the board's)")
    parser.add_argument("--clock-mhz", metavar="F", type=flags.typed(flags.clock), action=flags.Once,
                        help="clock for the time (default: the board's)")
    parser.add_argument("--static", action="store_true", help="do not execute: multiply by the counts of the loops")
    parser.add_argument("--settings", metavar="FILE", type=flags.path, action=flags.Once,
                        help="settings TOML (default: that beside the program, then as for run)")
    flags.add_isa_flag(parser)
    parser.add_argument("--json", action="store_true", help="print the profile as JSON, with every loop")


def run(args):
    """Print the profile; 0."""
    import sys

    from ..precompile import EXECUTED, make_ready

    if not args.static:
        make_ready(EXECUTED)

    from ..boards import load_board
    from ..profiler.sources import profile_source
    from ..report.profile import profile_text
    from ..report.table import terminal_width
    from ..result import record_json

    found = profile_source(
        args.source, load_board(args.board, args.latency_profile), revision=flags.revision(args), static=args.static,
        settings_path=args.settings, latencies=args.latencies, clock_mhz=args.clock_mhz,
    )
    if args.json:
        sys.stdout.write(record_json("profile", found, args.command_line).decode())
    else:
        print(profile_text(found, terminal_width(sys.stdout)))
    return 0
