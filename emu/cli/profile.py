"""Where a program's cycles go: by instruction type, by opcode and by loop; or with --by where a run's time goes.

  plena-emu profile BUILD --board custom_a7
  plena-emu profile BUILD --by layer,operator --board custom_a7 --memory-model auto

SOURCE is a build directory, machine code (FILE.mem) or assembly (FILE.asm). The program is executed without data
and without a memory model; --static multiplies by loop counts instead, for text that cannot run. Latencies are the
board's, or with --latencies settings those of the settings file. MLEN and VLEN come from the settings.

With --by the program is run as by `plena-emu run --timing-only` with the same flags, memory model included, and
every picosecond and byte is charged to its layer, operator, HBM region, opcode or loop. Without --board the latencies
are those of the settings then. Layers and operators come from stages.json, else from the comments of
generated_asm_code.asm, else from loops.
"""

import os
import sys

from ..boards import DEFAULT_BOARD
from ..errors import UsageError
from . import flags

KEYS = ("layer", "operator", "layer,operator", "operator,layer", "region", "opcode", "loop")


def configure(parser):
    """Add the arguments of the command."""
    parser.add_argument("source", metavar="SOURCE", type=flags.path, help="build directory, FILE.mem or FILE.asm")
    parser.add_argument("--board", metavar="NAME", action=flags.Once,
                        help=f"a board that ships, or the path of a board file (default: {DEFAULT_BOARD}; with --by:"
                        " none)")
    parser.add_argument("--latency-profile", metavar="NAME", action=flags.Once,
                        help="lay a latency profile over the board")
    parser.add_argument("--latencies", choices=("board", "settings"), action=flags.Once,
                        help="whose latencies count (default: the board's)")
    parser.add_argument("--static", action="store_true", help="do not execute: multiply by the counts of the loops")
    parser.add_argument("--settings", metavar="FILE", type=flags.path, action=flags.Once,
                        help="settings TOML (default: that beside the program, then as for run)")
    parser.add_argument("--json", action="store_true", help="print JSON: the profile with every loop, or the figures")
    _add_run_flags(parser)


def _add_run_flags(parser):
    """What only --by uses; the flags of the memory model are those of `run`."""
    parser.add_argument("--by", choices=KEYS, metavar="KEY", action=flags.Once,
                        help=f"charge the time of a run: {', '.join(KEYS)}")
    parser.add_argument("--csv", action="store_true", help="print comma-separated values, every figure")
    parser.add_argument("--reference-timing", action="store_true",
                        help="with --by: take the latencies of --board alone, cycles stay 1000 ps")
    flags.add_overlay_flags(parser)
    flags.add_board_model_flags(parser)


def run(args):
    """Print the profile; 0."""
    import sys

    if args.by is not None:
        return _run_by(args)
    for name in ("csv", "dram", "ddr_speed", "reference_timing", "hbm_size", "memory_model", "weight_manifest",
                 "ddr_capacity", "host_bandwidth"):
        if getattr(args, name) not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} needs --by")
    from ..precompile import EXECUTED, make_ready

    if not args.static:
        make_ready(EXECUTED)

    from ..boards import load_board
    from ..profiler.sources import profile_source
    from ..report.profile import profile_text
    from ..report.table import terminal_width
    from ..result import record_json

    found = profile_source(
        args.source, load_board(args.board or DEFAULT_BOARD, args.latency_profile), revision=flags.revision(args),
        static=args.static, settings_path=args.settings, latencies=args.latencies or "board", clock_mhz=args.clock_mhz,
    )
    if args.json:
        sys.stdout.write(record_json("profile", found, args.command_line).decode())
    else:
        print(profile_text(found, terminal_width(sys.stdout)))
    return 0


def _run_by(args):
    """Run the program without data, and print its figures by the key."""
    for name in ("latencies", "static"):
        if getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')}: not with --by, which runs the program")
    names = tuple(args.by.split(","))
    result = _result(args, names)
    from ..report.stages import stages_csv, stages_text
    from ..report.table import terminal_width

    if args.csv:
        sys.stdout.write(stages_csv(result.stages, names))
    elif args.json:
        sys.stdout.write(result.to_json())
    else:
        print(stages_text(result, names, terminal_width(sys.stdout)))
    return 0


def _result(args, names):
    from ..errors import DataNeeded

    fields = {name: value for name, value in {
        "isa": flags.revision(args), "settings_path": args.settings, "board": args.board,
        "latency_profile": args.latency_profile, "dram": args.dram, "hbm_size": args.hbm_size,
        "memory_model": args.memory_model, "weight_manifest": args.weight_manifest, "ddr_capacity": args.ddr_capacity,
        "ddr_capacity_origin": args.ddr_capacity_origin, "clock_mhz": args.clock_mhz,
        "ddr_speed": args.ddr_speed, "reference_timing": args.reference_timing or None,
        "host_bandwidth": args.host_bandwidth, "loops": names == ("loop",) or None,
    }.items() if value is not None}
    try:
        return _execute(_request(args.source, fields | {"timing_only": True}))
    except DataNeeded:
        return _execute(_request(args.source, fields))


def _execute(request):
    from ..logs import Log
    from ..precompile import kernels_of, make_ready

    make_ready(kernels_of(request))
    from ..running.runner import execute

    return execute(request, Log("off"))


def _request(source, fields):
    """A request for a build directory, or for machine code on its own with the settings beside it."""
    from ..config.build_dir import fields_of
    from ..request import RunRequest

    if os.path.isdir(source):
        return RunRequest(dump_dir=None, **fields_of(source, fields))
    if source.endswith((".asm", ".s")):
        raise UsageError(f"{source}: --by runs machine code, expected a build directory or FILE.mem")
    beside = os.path.join(os.path.dirname(source), "plena_settings.toml")
    if "settings_path" not in fields and os.path.lexists(beside):
        fields |= {"settings_path": beside, "settings_origin": "beside the program"}
    return RunRequest(opcode=source, dump_dir=None, **fields)
