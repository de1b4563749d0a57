"""Replay a trace on a DRAM behind its controller.

  plena-emu dram accesses.csv --dram ddr4 -o completions.csv

A CSV trace has a line for each 64-byte access, `time_ps,read|write,address`: times never run backwards, addresses
are multiples of 64, decimal or hexadecimal (0x), # begins a comment, a header is optional. Each access is spawned
at its own time. A .npz trace holds batches (batch_kind, batch_t, batch, op, addr) and may name DRAM and revision.
"""

from . import flags


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("trace", metavar="TRACE", type=flags.path, help="CSV or .npz trace")
    parser.add_argument("--dram", metavar="NAME", type=flags.path, action=flags.Once,
                        help="hbm2, ddr4, or the path of a description (default: what a .npz trace names, else hbm2)")
    flags.add_isa_flag(parser)
    parser.add_argument("-o", "--output", metavar="FILE", type=flags.path, action=flags.Once,
                        help="write acceptance and completion of every access as CSV")
    parser.add_argument("--json", metavar="FILE", type=flags.path, action=flags.Once,
                        help="write the statistics as JSON; - is standard output, in place of the table")


def run(args):
    """Replay and report; 0."""
    from ..kernels.compiler.object_code import choose_prebuilt

    choose_prebuilt(("dram.replay",))
    import sys

    from ..atomic_files import write_whole
    from ..memory.dram_replay import replay_batches
    from ..memory.dram_trace_files import completions, read_trace
    from ..result import record_json

    trace = read_trace(args.trace)
    isa = flags.revision(args) if args.isa or trace.isa is None else trace.isa
    found = _replay(replay_batches, args, trace, isa)
    if args.output:
        write_whole(args.output, completions(trace, found), "completions")
    text = record_json("dram", found.statistics, args.command_line)
    if args.json == "-":
        sys.stdout.write(text.decode())
        return 0
    if args.json:
        write_whole(args.json, text, "JSON record")
    from ..report.dram import print_dram

    print_dram(found.statistics, args.trace, isa, sys.stdout)
    return 0


def _replay(replay_batches, args, trace, isa):
    """`Replay` of a trace; what is wrong with its arrays is told with the trace's name."""
    from ..boards.dram_schema import load_dram
    from ..errors import EmuError

    description = load_dram(args.dram or trace.dram or "hbm2")
    try:
        return replay_batches(description, trace.batch_kind, trace.batch_t, trace.batch, trace.op, trace.addr, isa)
    except EmuError as error:
        raise EmuError(f"trace {args.trace}: {error}") from None
