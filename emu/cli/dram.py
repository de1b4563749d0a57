"""Replay a trace on a DRAM behind its controller.

  plena-emu dram accesses.csv --dram ddr4 -o completions.csv

A CSV trace has a line for each 64-byte access, `time_ps,read|write,address`: times never run backwards, addresses
are multiples of 64, decimal or hexadecimal (0x), # begins a comment, a header is optional. Each access is spawned
at its own time. A .npz trace holds batches (batch_kind, batch_t, batch, op, addr) and may hold DRAM and revision;
`plena-emu run --memory-trace` writes one with both. Text may be compressed by gzip, and - is standard input.

Traces of other simulators are known by their first line, or by --format: ramulator (LD|ST address, address R|W),
dramsim3 (address READ|WRITE cycle), gem5 (decoded packets), scalesim (cycle, address, ...; scalesim-ofmap are writes).
Their addresses are those of any byte; each 64-byte block that a line touches is an access.
"""

import contextlib
import sys

from ..errors import EmuError, UsageError
from . import flags

FORMATS = ("csv", "ramulator", "dramsim3", "gem5", "scalesim", "scalesim-ofmap")
MAX_OUTSTANDING = 1 << 20
PART = 1 << 16  # accesses, or bytes, that are written at a time


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("trace", metavar="TRACE", nargs="?", type=flags.path,
                        help="CSV, .npz or another simulator's trace; - is standard input")
    parser.add_argument("--list", action="store_true", help="list the DRAMs that ship, with bandwidth and latency")
    parser.add_argument("--dram", metavar="NAME", type=flags.path, action=flags.Once,
                        help="a DRAM that ships (--list), or the path of a description (default: that of a .npz"
                             " trace, else hbm2)")
    parser.add_argument("--ddr-speed", metavar="FACTOR", type=flags.typed(flags.speed), action=flags.Once,
                        help="data rate times FACTOR; core timings keep their nanoseconds")
    flags.add_isa_flag(parser)
    group = parser.add_argument_group("trace")
    group.add_argument("--format", choices=FORMATS, action=flags.Once, help="format of the trace")
    group.add_argument("--outstanding", metavar="N", type=flags.typed(_count), action=flags.Once,
                       help="of a trace without times: each access is issued, in order, as soon as fewer than N are"
                            " under way")
    group.add_argument("--clock-mhz", metavar="MHZ", type=flags.typed(flags.clock), action=flags.Once,
                       help="clock of the cycles in a dramsim3 or scalesim trace (default: the DRAM's)")
    group.add_argument("--word-bytes", metavar="N", type=flags.typed(_count), action=flags.Once,
                       help="bytes of a word in a scalesim trace (default: 1)")
    parser.add_argument("-o", "--output", metavar="FILE", type=flags.path, action=flags.Once,
                        help="write acceptance and completion of every access as CSV; - is standard output, in place"
                             " of the table")
    parser.add_argument("--json", metavar="FILE", type=flags.path, action=flags.Once,
                        help="write the statistics as JSON; - is standard output, in place of the table")


def _count(text):
    if not (text.isascii() and text.isdecimal() and len(text) < 8 and 1 <= int(text) <= MAX_OUTSTANDING):
        raise UsageError(f"number {text[:40]!r}: expected 1 to {MAX_OUTSTANDING}")
    return int(text)


def run(args):
    """Replay and report; 0."""
    if args.list:
        return _list(args, sys.stdout)
    _check_flags(args)
    from ..precompile import make_ready

    make_ready(("dram.replay", "dram.trace_text"))
    from ..memory.dram_trace_files import open_trace
    from ..result import record_json

    with open_trace(args.trace, args.format, args.word_bytes or 1) as trace:
        isa = flags.revision(args) if args.isa or trace.first.isa is None else trace.first.isa
        description, origin = _description(args, trace.first)
        with _completions(args.output) as write:
            statistics = _replay(args, trace, description, isa, write)
    text = record_json("dram", statistics, args.command_line)
    if args.json == "-":
        sys.stdout.write(text.decode())
    elif args.json:
        from ..atomic_files import write_whole

        write_whole(args.json, text, "JSON record")
    if "-" not in (args.output, args.json):
        from ..report.dram import print_dram

        print_dram(statistics, args.trace, isa, sys.stdout, origin)
    return 0


@contextlib.contextmanager
def _completions(target):
    """Context whose value takes the bytes of the completions; they appear at its end, or not at all after an error."""
    if target is None:
        yield None
        return
    if target == "-":
        import tempfile

        with tempfile.TemporaryFile() as file:
            yield file.write
            file.seek(0)
            while part := file.read(PART):
                sys.stdout.write(part.decode())
        return
    from ..atomic_files import OutputSet, told

    with told("completions", target), OutputSet() as outputs:
        yield outputs.open(target).write


def _list(args, stream):
    """Write the table of the DRAMs that ship; 0."""
    given = [name for name, value in vars(args).items() if name in _REPLAY_FLAGS and value is not None]
    if given:
        raise UsageError(f"--list: found {_REPLAY_FLAGS[given[0]]} as well, expected --list alone")
    from ..boards.dram_schema import dram_names, load_dram
    from ..report.dram import print_descriptions

    print_descriptions([load_dram(name) for name in dram_names()], stream)
    return 0


_REPLAY_FLAGS = {"trace": "TRACE", "dram": "--dram", "ddr_speed": "--ddr-speed", "isa": "--isa", "format": "--format",
                 "outstanding": "--outstanding", "clock_mhz": "--clock-mhz", "word_bytes": "--word-bytes",
                 "output": "-o", "json": "--json"}


def _check_flags(args):
    """What the command line alone shows to be wrong."""
    from ..atomic_files import check_outputs

    if args.trace is None:
        raise UsageError("expected TRACE, or --list for the DRAMs that ship")
    if args.output == args.json == "-":
        raise UsageError("-o and --json: found - for both, expected one of them on standard output")
    check_outputs([("-o", _file(args.output)), ("--json", _file(args.json))],
                  [("TRACE", args.trace), ("--dram", args.dram)])


def _file(target):
    return None if target == "-" else target


def _description(args, trace):
    """Find the DRAM, at its speed, and where it comes from in words."""
    from ..boards.dram_schema import load_dram

    if args.dram is None and trace.without_dram:
        raise EmuError(f"trace {args.trace}: the run's memory was the idealised DDR of §3.5, which is no DRAM behind a"
                       " controller: expected --dram NAME (--list shows those that ship)")
    found, origin = args.dram or trace.dram or "hbm2", " (--dram)" if args.dram else " (of the trace)"
    if args.dram is None and trace.dram is None:
        origin = " (default)"
    description = load_dram(found) if isinstance(found, str) else found
    if args.ddr_speed is None:
        return description, origin
    from ..boards.dram_speed import at_speed, factor_text

    try:
        return at_speed(description, args.ddr_speed), origin
    except EmuError as error:
        raise EmuError(f"--ddr-speed {factor_text(args.ddr_speed)}: {error}") from None


def _replay(args, trace, description, isa, write):
    """Replay a trace: statistics, and its completions to `write`, unless that is None.

    What is wrong with it is told with its name.
    """
    from ..memory.dram_replay import ReplayStream
    from ..memory.dram_trace_csv import FIRST_LINE, completion_lines
    from .compile import progress_bar

    write = write or (lambda data: None)
    lines = completion_lines if args.output else lambda found: b""
    write(FIRST_LINE)
    with _named(args.trace):
        _check_use(args, trace.first)
        if trace.first.format == "npz":
            return _replay_arrays(trace.first, description, isa, lambda found: write(lines(found)))
        stream = ReplayStream(description, isa, outstanding=args.outstanding)
    clock_ps, count = 1e6 / args.clock_mhz if args.clock_mhz else description.period_ps, 0
    with progress_bar("replay") as progress:
        for part in trace.parts:
            with _named(args.trace):
                time_ps = None if part.times is None else part.time_ps(clock_ps)
                found = stream.feed(time_ps, part.addr, part.op)
            write(lines(found))
            count += len(part.op)
            progress(f"{count:,} accesses", *trace.progress())
        write(lines(stream.finish()))
    return stream.statistics


def _replay_arrays(trace, description, isa, take):
    """Replay a trace of batches, whose arrays are at hand."""
    from ..memory.dram_replay import Completions, replay_batches

    found = replay_batches(description, trace.batch_kind, trace.batch_t, trace.batch, trace.op, trace.addr, isa)
    arrays = (trace.addr.astype("uint64").view("int64"), trace.op.astype("int64"), found.issue_ps, found.accept_ps,
              found.done_ps)
    for first in range(0, len(trace.addr), PART):
        take(Completions(*(values[first : first + PART] for values in arrays)))
    return found.statistics


@contextlib.contextmanager
def _named(trace):
    """Context whose errors begin with the trace."""
    try:
        yield
    except EmuError as error:
        raise EmuError(f"trace {trace}: {error}") from None


def _check_use(args, trace):
    """No flag without use, and none missing."""
    if trace.times is None and trace.format != "npz" and args.outstanding is None:
        raise EmuError(f"found no times (format {trace.format}), expected --outstanding N: how many accesses may be"
                       " under way")
    for flag, value, used in (
        ("--outstanding", args.outstanding, trace.times is None and trace.format != "npz"),
        ("--clock-mhz", args.clock_mhz, trace.times == "clocks"),
        ("--word-bytes", args.word_bytes, trace.format.startswith("scalesim")),
    ):
        if value is not None and not used:
            raise EmuError(f"{flag}: of no use in a trace of format {trace.format}")
