"""Measure how fast programs run, checked against what they must compute; or compare two results.

  plena-emu bench --json new.json --plot new.svg
  plena-emu bench base_aten_linear examples/linear --modes data --runs 9
  plena-emu bench --modes data --reference ../other/transactional_emulator
  plena-emu bench --growth llama-3.1-8b
  plena-emu bench --compare old.json new.json

Without PROGRAM: the golden programs with a reference wall, and the examples. A PROGRAM is the name of a golden
program, an example, or a build directory. Modes data and timing-only are runs within one process after a warm-up
run, process is the executable transactional_emulator with stock settings.

exit status: 0 success, 1 --compare found something slower, 2 usage error, 101 any other error (also a run whose
latency is not the expected one), 130 interrupted
"""

import contextlib
import io
import sys

from ..atomic_files import check_directory, check_outputs
from ..bench.record import MODES
from ..config.build_dir import files_of_build
from ..config.units import parse_count
from ..errors import EXIT_OK, EmuError, UsageError
from ..inputs.choices import MEMORY_MODELS
from ..interrupts import unwinding
from . import flags

EXIT_SLOWER = 1
FEWEST_RUNS = 2  # one has no spread


def configure(parser):
    """Add the arguments of the command."""
    parser.add_argument("programs", metavar="PROGRAM", nargs="*", type=flags.path, help="what to measure")
    parser.add_argument("--golden", metavar="DIR", type=flags.path, action=flags.Once,
                        help="directory of the golden programs (default: ../shared/golden)")
    parser.add_argument("--all", action="store_true", help="every golden program, also without a reference wall")
    parser.add_argument("--models", metavar="LIST", type=flags.typed(_some_of(MEMORY_MODELS)), action=flags.Once,
                        default=["resident", "hbm"], help="memory models, with commas (default: resident,hbm)")
    parser.add_argument("--modes", metavar="LIST", type=flags.typed(_some_of(MODES)), action=flags.Once,
                        default=list(MODES), help=f"with commas (default: {','.join(MODES)})")
    parser.add_argument("--runs", metavar="N", type=flags.typed(_runs), action=flags.Once, default=5,
                        help="repetitions that count (default: 5)")
    flags.add_isa_flag(parser)
    parser.add_argument("--reference", metavar="EXE", type=flags.path, action=flags.Once,
                        help="another executable with the drop-in's interface: time both on the same programs in turns,"
                             " and tell the ratios with and without start-up")
    parser.add_argument("--growth", metavar="MODEL", type=flags.path, action=flags.Once,
                        help="a model (plena-emu compile --list): how timing-only runs of it grow with layers and"
                             " tokens")
    parser.add_argument("--preset", metavar="NAME", action=flags.Once, help="geometry of --growth (default: m64b16)")
    parser.add_argument("--json", metavar="FILE", type=flags.path, action=flags.Once,
                        help="write every figure as JSON; - is standard output, in place of the tables")
    parser.add_argument("--plot", metavar="FILE", type=flags.path, action=flags.Once,
                        help="draw the result to a .png or .svg file (needs matplotlib)")
    parser.add_argument("--compare", metavar=("OLD.json", "NEW.json"), nargs=2, type=flags.path, action=flags.Once,
                        help="say what got slower or faster beyond noise, and measure nothing")


def _some_of(known):
    def parse(text):
        names = list(dict.fromkeys(text.split(",")))
        for name in names:
            if name not in known:
                raise UsageError(f"found {name!r}, expected some of {','.join(known)}")
        return names

    return parse


def _runs(text):
    number = parse_count(text)
    if number < FEWEST_RUNS:
        raise UsageError(f"number {text!r}: expected at least {FEWEST_RUNS}, for the spread")
    return number


def run(args):
    """Measure or compare; 0, or 1 when something got slower."""
    if args.compare:
        return _compare(args)
    from ..bench.programs import find_workloads
    from ..bench.side_by_side import check_executable
    from ..bench.suite import run_suite

    _check_outputs(args)
    if args.preset is not None and args.growth is None:
        raise UsageError("--preset needs --growth")
    reference = check_executable(args.reference) if args.reference is not None else None
    try:
        with unwinding():
            if args.growth is not None:
                record = _growth(args)
            else:
                workloads, notes = find_workloads(args.programs, args.golden, args.all, flags.revision(args))
                record = run_suite(workloads, args.models, args.modes, args.runs, notes, _request_of, _show, reference)
    finally:
        _show("")
    record.command = args.command_line
    _report(args, record)
    return EXIT_OK


def _growth(args):
    """Measure how a model grows; nothing else is measured then."""
    if args.programs or args.golden or args.all or args.plot or args.reference:
        raise UsageError("--growth measures a model alone: leave programs, --golden, --all, --plot and --reference out")
    from ..bench.growth import measure_growth
    from ..bench.record import BenchRecord, now, this_machine
    from ..models.compiler import compile as compile_model
    from ..models.presets import DEFAULT_PRESET
    from ..models.sources import find_model

    layers = find_model(args.growth).part("text").layers
    preset = args.preset or DEFAULT_PRESET
    machine, started = this_machine(), now()
    growth = measure_growth(args.growth, preset, layers, args.models, args.runs, compile_model, _show)
    return BenchRecord(started=started, machine=machine, runs=args.runs, kernel=[], process=[], means=[], notes=[],
                       growth=growth)


def _request_of(args, isa, **fields):
    """Make the request of a run from the arguments of the drop-in."""
    from .dropin import build_parser

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            parsed = build_parser().parse_args(args)
    except SystemExit as stop:
        why = said.getvalue().strip().removesuffix(" (see --help)") if stop.code else "they ask for no run"
        raise EmuError(f"arguments of the program {args}: expected those of a run: {why}") from None
    return flags.request(parsed, isa, **fields)


def _check_outputs(args):
    """Refuse, before anything is measured, places where a result could not be written."""
    if args.plot:
        from ..report.bench_plot import check_plot

        check_plot(args.plot)
    for path in (args.json, args.plot):
        check_directory(path, "result")
    check_outputs([("--json", None if args.json == "-" else args.json), ("--plot", args.plot)],
                  [pair for path in args.programs for pair in [("PROGRAM", path), *files_of_build(path)]])


def _show(text):
    """Show what is being measured, on one line of a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _report(args, record):
    from ..atomic_files import write_whole
    from ..report.bench import bench_text
    from ..report.table import terminal_width

    if args.json == "-":
        sys.stdout.write(record.to_json())
    else:
        print(bench_text(record, terminal_width(sys.stdout)))
        if args.json:
            write_whole(args.json, record.to_json().encode(), "JSON record")
    if args.plot:
        from ..report.bench_plot import write_plot

        write_plot(record, args.plot)


def _compare(args):
    from ..bench.compare import compare
    from ..bench.record import read_record
    from ..report.bench import comparison_text
    from ..report.table import terminal_width

    if args.programs or args.golden or args.all or args.json or args.plot:
        raise UsageError("--compare takes two result files and measures nothing: leave the other arguments out")
    old, new = (read_record(path) for path in args.compare)
    found = compare(old, new)
    print(comparison_text(found, terminal_width(sys.stdout)))
    return EXIT_SLOWER if found.slower else EXIT_OK
