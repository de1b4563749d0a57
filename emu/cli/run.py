"""Run a program and show what it did.

  plena-emu run BUILD_DIR --board custom_a7

Give a build directory of a testbench, or --opcode, --hbm and --fpsram (timing alone needs no preloads); a flag
beats the file of the directory. A .mem file in place of the directory is the program; plena_settings.toml beside it
counts, as in a build directory. Dumps go to the build directory (else to the working directory) unless --dump-dir says
otherwise; that directory is made where it is not there.
With a board times are the board's: its clock, its memory part and its host link count, and how much DDR there is; flags
beat it. It replaces the latencies of the settings, never the geometry. --reference-timing counts as without a board.

exit status: 0 success, 2 usage error, 3 stopped by --max-instructions (no dumps), 101 any other error,
130 interrupted
"""

import argparse
import os
import sys
import time

from ..atomic_files import check_creatable, check_directory
from ..config.build_dir import BUILD_FILES, fields_of, settings_beside
from ..config.units import parse_count
from ..errors import EXIT_ERROR, EXIT_MAX_INSTRUCTIONS, EXIT_OK, UsageError
from ..inputs.choices import MOST_THREADS
from ..interrupts import at_interrupt
from ..logs import RUNNER, Log
from ..running.run_files import check_files_of_run
from . import flags, hardware_flags
from .entry import say
from .importing import importing

# Warnings only, in plain words; the topology line is for testbenches.
QUIET_LEVELS = f"warn,{RUNNER}=error"

NAMES_AFTER = 0.5  # seconds before the progress bar finds out what the stages are called: most runs are over by then

GEOMETRY_FLAGS = ("--mlen", "--vlen", "--blen", "--hlen", "--broadcast-amount")


def configure(parser):
    parser.add_argument("build_dir", metavar="BUILD_DIR", nargs="?", type=flags.path,
                        help="build directory of a testbench, or a program (.mem)")
    flags.add_file_flags(parser, required=False)
    _add_board_flags(parser)
    flags.add_board_model_flags(parser)
    hardware_flags.add_run_flags(parser)
    hardware_flags.add_trace_flags(parser)
    group = parser.add_argument_group("run")
    group.add_argument("--max-instructions", metavar="N", type=flags.typed(_positive), action=flags.Once,
                       help="stop after N executed instructions, with status 3 and without dumps")
    group.add_argument("--timing-only", action="store_true", help="leave out the data: latency and counts, no dumps")
    group.add_argument("--threads", metavar="N", type=flags.typed(_threads), action=flags.Once,
                       help=f"from 2 on timing runs beside data, and large products on all of them; {MOST_THREADS} at"
                       " most, and no more run than there are CPUs; the results are the same (default: one a CPU, 4 at"
                       " most; with --timing-only 2 where a second one helps, else 1)")
    group.add_argument("--no-memo", action="store_true",
                       help="simulate every memory batch, also where one like it came before; the results are the same")
    group.add_argument("--memory-trace", metavar="FILE", type=flags.named_output, action=flags.Once,
                       help="write the memory accesses as a .npz trace that `plena-emu dram` replays")
    where = group.add_mutually_exclusive_group()
    where.add_argument("--dump-dir", metavar="DIR", type=flags.path, action=flags.Once, help="directory for the dumps")
    where.add_argument("--no-dumps", action="store_true", help="write no dumps")
    group.add_argument("--dump-hbm", action="store_true", help="write hbm_dump.bin as well (model hbm)")
    group.add_argument("--json", metavar="FILE", type=flags.path, action=flags.Once,
                       help="write every figure as JSON; - is standard output, in place of the tables")
    group.add_argument("--timeline", metavar="FILE", type=flags.named_output, action=flags.Once,
                       help="write a timeline of stages, units and bandwidth in simulated time, which Perfetto and"
                       " chrome://tracing open; FILE.gz is compressed. Every instruction is looked at: slower")
    group.add_argument("--timeline-slices", metavar="N", type=flags.typed(_positive), action=flags.Once,
                       help="most slices of the timeline; neighbours are merged beyond (default: 200000)")
    group.add_argument("--pc-log", metavar="FILE", type=flags.named_output, action=flags.Once,
                       help="write a line for each instruction of a window: time, stage, operands")
    group.add_argument("--from", metavar="PLACE", dest="pc_log_from", type=flags.typed(_place), action=flags.Once,
                       help="where the window begins: count=N, pc=N, an operator such as attn.qkv, or 0/attn.qkv"
                       " (default: count=0)")
    group.add_argument("--count", metavar="N", dest="pc_log_count", type=flags.typed(_positive), action=flags.Once,
                       help="instructions of the window (default: 1000)")
    group.add_argument("--quiet", action="store_true", help="no tables and no progress bar")
    flags.add_log_flags(parser)


def _add_board_flags(parser):
    group = parser.add_argument_group("board")
    group.add_argument("--board", metavar="NAME", type=flags.path, action=flags.Once,
                       help="a board that ships, or the path of a board file")
    group.add_argument("--latency-profile", metavar="NAME", type=flags.path, action=flags.Once,
                       help="lay a latency profile over the board")
    flags.add_overlay_flags(group)
    group.add_argument("--reference-timing", action="store_true",
                       help="with a board: cycles and idealised DDR of a run without one; cycles are 1000 ps, with"
                            " hardware timing CLOCK_PERIOD_PS")
    for flag in GEOMETRY_FLAGS:
        group.add_argument(flag, nargs="?", action=_Refused, help=argparse.SUPPRESS)


class _Refused(argparse.Action):
    """A flag of `board-settings` that a compiled program cannot take (§6.2)."""

    def __call__(self, parser, namespace, values, option_string=None):
        raise argparse.ArgumentError(self, "a compiled program keeps its geometry; board-settings sets it for a build"
                                           " that is yet to be compiled")


def _place(text):
    """A place of --from, as text that was looked at."""
    from ..running.pc_log import parse_start

    parse_start(text)
    return text


def _positive(text):
    number = parse_count(text)
    if number == 0:
        raise UsageError(f"number {text!r}: expected at least 1")
    return number


def _threads(text):
    number = _positive(text)
    if number > MOST_THREADS:
        raise UsageError(f"number {text!r}: expected at most {MOST_THREADS}")
    return number


def run(args):
    check_directory(None if args.json == "-" else args.json, "--json")
    check_directory(args.timeline, "--timeline")
    check_directory(args.pc_log, "--pc-log")
    if (args.pc_log_from or args.pc_log_count) and args.pc_log is None:
        raise UsageError("--from and --count need --pc-log")
    if args.timeline_slices and args.timeline is None:
        raise UsageError("--timeline-slices needs --timeline")
    check_directory(args.memory_trace, "--memory-trace")
    if args.memory_trace and not args.memory_trace.endswith(".npz"):
        raise UsageError(f"--memory-trace {args.memory_trace}: expected a name that ends in .npz")
    if args.dump_dir:
        check_creatable(args.dump_dir, "--dump-dir")
    request = make_request(args, take_program(args))
    record = None if args.json == "-" else args.json
    check_files_of_run(vars(request), log_file=args.log_file, json=record)
    log = make_log(args)
    try:
        return _execute(args, request, log)
    finally:
        log.close()


def take_program(args):
    """Take a program file in place of the build directory for `--opcode`; assembly is refused with what to do.

    Returns
    -------
    str or None
        The program, where it was named so.
    """
    path = args.build_dir
    if path is None or os.path.isdir(path) or not os.path.exists(path):
        return None
    if path.lower().endswith((".asm", ".isa", ".s")):
        words = f"{os.path.splitext(path)[0]}.mem"
        raise UsageError(f"{path}: found assembly, expected BUILD_DIR or machine code:"
                         f" plena-emu asm {path} -o {words} makes it")
    if args.opcode is not None:
        raise UsageError(f"{path}: found a file beside --opcode, expected BUILD_DIR or one program")
    args.opcode, args.build_dir = path, None
    return path


def make_request(args, program=None):
    """Make the `RunRequest` of the flags and, below them, the files of the build directory or beside the program."""
    fields = {
        "board": args.board,
        "latency_profile": args.latency_profile,
        "dram": args.dram,
        "clock_mhz": args.clock_mhz,
        "ddr_speed": args.ddr_speed,
        "reference_timing": args.reference_timing,
        "memory_trace": args.memory_trace,
        "dump_dir": None if args.no_dumps or args.timing_only else args.dump_dir or args.build_dir or ".",
        "dump_hbm": args.dump_hbm,
        "max_instructions": args.max_instructions,
        "timing_only": args.timing_only,
        "threads": args.threads,
        "memo": not args.no_memo,
        "stages": args.json is not None,  # the tables show neither
        "hashes": args.json is not None,
        "timeline": args.timeline,
        "pc_log": args.pc_log,
        **({"pc_log_from": args.pc_log_from} if args.pc_log_from else {}),
        **({"pc_log_count": args.pc_log_count} if args.pc_log_count else {}),
        **({"timeline_slices": args.timeline_slices} if args.timeline_slices else {}),
    } | hardware_flags.run_fields(args) | hardware_flags.trace_fields(args)
    if args.build_dir is not None:
        fields |= fields_of(args.build_dir, fields | flags.fields(args))
    elif program is not None:
        fields |= settings_beside(program, {"settings_path": args.settings})
    missing = [f"--{file.flag}" for file in BUILD_FILES
               if file.is_needed(args.timing_only) and fields.get(file.field, getattr(args, file.flag)) is None]
    if missing and args.opcode is not None:
        raise UsageError(f"program {args.opcode}: a run with data needs {' and '.join(missing)} too, or --timing-only")
    if missing:
        raise UsageError(f"expected BUILD_DIR or {', '.join(missing)}")
    return flags.request(args, flags.revision(args), **fields)


def make_log(args):
    """Open the log: records as the drop-in writes them where a level was asked for, else plain warnings."""
    rust_log = os.environ.get("RUST_LOG")
    if args.log_level or rust_log:
        return Log(args.log_level, rust_log, args.log_file)
    return Log(QUIET_LEVELS, None, args.log_file, plain=True)


def _execute(args, request, log):
    from ..precompile import kernels_of, make_ready

    make_ready(kernels_of(request))
    with importing():
        from ..running.log_records import final_records
        from ..running.runner import execute

    request.trace = log.asked_for_debug
    if sys.stderr.isatty() and not args.quiet and not request.trace:
        with progress_bar() as request.progress:
            result = execute(request, log)
    else:
        result = execute(request, log)
    final_records(log, result)
    result.command = args.command_line
    _report(args, result)
    for line in result.dump_errors:
        say("plena-emu run", line)
    if result.dump_errors:
        return EXIT_ERROR
    return EXIT_MAX_INSTRUCTIONS if result.stopped_by_max_instructions else EXIT_OK


def _report(args, result):
    if args.json == "-":
        sys.stdout.write(result.to_json())
        return
    if not args.quiet:
        from ..report.summary import print_summary

        print_summary(result, sys.stdout)
    if args.json:
        from ..atomic_files import write_whole

        write_whole(args.json, result.to_json().encode(), "JSON record")


class progress_bar:
    """Context whose value is the progress callback of a request, drawing on standard error.

    The bar shows executed instructions where their number is known ahead, else the furthest word: loops move the pc
    back.
    """

    def __enter__(self):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.description}"), TimeElapsedColumn(),
                   TextColumn("left"), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.bar.add_task("loading", total=None)
        self.furthest = 0
        self.stages = self.labels = self.total = None
        self.began = time.monotonic()
        self.leaving = at_interrupt(self.bar.stop)  # the cursor is hidden while it draws
        self.leaving.__enter__()
        try:
            self.bar.start()
        except RuntimeError:  # no thread can be started that draws it
            return None
        return self

    def begin(self, stages, total):
        """Take what finds the stages of the program, and the instructions it will execute (None: not known)."""
        self.stages, self.total = stages, total

    def __call__(self, pc, words, executed, picoseconds):
        self.furthest = max(self.furthest, pc)
        if self.stages is not None and time.monotonic() - self.began > NAMES_AFTER:
            self.labels, self.stages = self.stages(), None
        where = f"pc {pc:,}"
        if self.labels is not None and pc < words:
            stage = self.labels.stages[self.labels.of_word[pc]]
            where = stage.operator if stage.layer is None else f"layer {stage.layer} {stage.operator}"
        text = f"{where}  {picoseconds / 1e6:,.1f} µs simulated"  # with the times beside it 80 columns hold it
        total, done = (words, self.furthest) if self.total is None else (self.total, executed)
        self.bar.update(self.task, total=total, completed=min(done, total), description=text)

    def __exit__(self, *failure):
        self.bar.stop()
        self.leaving.__exit__(*failure)
