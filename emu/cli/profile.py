"""Where a program's time goes: by instruction type, by opcode and by loop; or with --by as you like.

  plena-emu profile BUILD --board custom_a7
  plena-emu profile BUILD --by layer,operator --board custom_a7

SOURCE is a build directory, machine code (FILE.mem) or assembly (FILE.asm). The program is run as by `plena-emu run
--timing-only` with the same flags and defaults, memory model included, and every picosecond is charged to its
instruction. With --by every picosecond and byte is charged to its layer, operator, HBM region, opcode or loop. Layers
and operators come from stages.json, else from the comments of generated_asm_code.asm, else from loops.

With --timing rtl-v1 (or a timing file) --by shows the cycles of the timeline: what was issued, what stalled for which
reason, what units did meanwhile.

--static executes nothing: it multiplies by the counts of the loops, for text that cannot run, and charges transfers
what the board's file says. Latencies are the board's then, or with --latencies settings those of the settings file.
"""

import sys

from ..boards import DEFAULT_BOARD
from ..errors import UsageError
from . import flags, hardware_flags

KEYS = ("layer", "operator", "layer,operator", "operator,layer", "region", "opcode", "loop")


def configure(parser):
    """Add the arguments of the command."""
    parser.add_argument("source", metavar="SOURCE", type=flags.path, help="build directory, FILE.mem or FILE.asm")
    parser.add_argument("--board", metavar="NAME", action=flags.Once,
                        help="a board that ships, or the path of a board file (default: none; with --static:"
                        f" {DEFAULT_BOARD})")
    parser.add_argument("--latency-profile", metavar="NAME", action=flags.Once,
                        help="lay a latency profile over the board")
    parser.add_argument("--latencies", choices=("board", "settings"), action=flags.Once,
                        help="with --static: whose latencies count (default: the board's)")
    parser.add_argument("--static", action="store_true", help="do not execute: multiply by the counts of the loops")
    parser.add_argument("--settings", metavar="FILE", type=flags.path, action=flags.Once,
                        help="settings TOML (default: that beside the program, then as for run)")
    parser.add_argument("--json", action="store_true", help="print JSON: the profile with every loop, or the figures")
    _add_run_flags(parser)


def _add_run_flags(parser):
    """What decides about the run, as for `run`, and how --by shows it."""
    parser.add_argument("--by", choices=KEYS, metavar="KEY", action=flags.Once,
                        help=f"charge the time of a run: {', '.join(KEYS)}")
    parser.add_argument("--csv", action="store_true", help="print comma-separated values, every figure")
    parser.add_argument("--reference-timing", action="store_true",
                        help="take the latencies of --board alone, cycles stay 1000 ps")
    flags.add_overlay_flags(parser)
    flags.add_board_model_flags(parser)
    hardware_flags.add_run_flags(parser)


def run(args):
    """Print the profile; 0."""
    if args.csv and args.json:
        raise UsageError("--csv: found --json as well, expected one of them")
    if args.static:
        return _run_static(args)
    if args.latencies is not None:
        raise UsageError("--latencies needs --static: a run takes those of --board, and without one the settings'")
    if args.by == "region" and args.timing != "serial":
        raise UsageError("--by region: not with --timing, whose stalls belong to no region")
    if args.by is not None:
        return _run_by(args)
    if args.csv:
        raise UsageError("--csv needs --by")
    if args.timing != "serial":
        raise UsageError("--timing needs --by: cycles of a timeline are charged to stages, opcodes or loops")
    from ..profiler.executed import executed_profile

    return _show(args, executed_profile(args.source, _fields(args)))


def _run_static(args):
    """Print the static profile."""
    given = {f"--{name.replace('_', '-')}": getattr(args, name) for name in (
        "by", "csv", "dram", "ddr_speed", "reference_timing", "hbm_size", "memory_model", "weight_manifest",
        "host_bandwidth", "dma", "hbm_channels")} | {"--timing": None if args.timing == "serial" else args.timing,
                            args.ddr_capacity_origin: args.ddr_capacity}
    for flag, value in given.items():
        if value not in (None, False):
            raise UsageError(f"{flag}: not with --static, which runs nothing")
    from ..boards import load_board
    from ..profiler.sources import static_profile
    from ..running.board_part import Overlay

    return _show(args, static_profile(
        args.source, load_board(args.board or DEFAULT_BOARD, args.latency_profile), revision=flags.revision(args),
        settings_path=args.settings, latencies=args.latencies or "board",
        overlay=Overlay(clock_mhz=args.clock_mhz, from_flags=True)))


def _show(args, found):
    from ..report.profile import profile_text
    from ..report.table import terminal_width
    from ..result import record_json

    if args.json:
        sys.stdout.write(record_json("profile", found, args.command_line).decode())
    else:
        print(profile_text(found, terminal_width(sys.stdout)))
    return 0


def _run_by(args):
    """Run the program without data, and print its figures by the key."""
    names = tuple(args.by.split(","))
    result = _result(args, names)
    from ..report.stages import stages_csv, stages_text
    from ..report.table import terminal_width

    if args.json:
        sys.stdout.write(result.to_json())
    elif args.timing != "serial":
        from ..report.cycles import cycles_csv, cycles_of, cycles_text

        sys.stdout.write(cycles_csv(cycles_of(result), names) if args.csv else
                         cycles_text(result, names, terminal_width(sys.stdout)) + "\n")
    elif args.csv:
        sys.stdout.write(stages_csv(result.stages, names))
    else:
        print(stages_text(result, names, terminal_width(sys.stdout)))
    return 0


def _fields(args):
    """Collect the fields of a run that flags name."""
    return {name: value for name, value in {
        "isa": flags.revision(args), "settings_path": args.settings, "board": args.board,
        "latency_profile": args.latency_profile, "dram": args.dram, "hbm_size": args.hbm_size,
        "memory_model": args.memory_model, "weight_manifest": args.weight_manifest, "ddr_capacity": args.ddr_capacity,
        "ddr_capacity_origin": args.ddr_capacity_origin, "clock_mhz": args.clock_mhz,
        "ddr_speed": args.ddr_speed, "reference_timing": args.reference_timing or None,
        "host_bandwidth": args.host_bandwidth, "from_flags": True, **hardware_flags.run_fields(args),
    }.items() if value is not None}


def _result(args, names):
    from ..profiler.executed import execute_without_data, run_request

    fields = _fields(args) | ({"loops": True} if names == ("loop",) else {})
    return execute_without_data(lambda more: run_request(args.source, fields | more))
