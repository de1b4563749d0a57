"""Run many configurations, each without data, and compare them.

  plena-emu sweep B1 B2 --board custom_a7,nexys_video --ddr-capacity 2M..1G --csv s.csv
  plena-emu sweep --model smollm2-135m --board custom_a7 --ddr-capacity 16M..512M --pivot ddr_capacity,board
  plena-emu sweep study.yaml --store results --workers 8

Every combination of the axes is a point. Files, keys and values are checked before the first point runs; a program
that fails when it runs is a row with its message. With --store nothing runs twice: a sweep that was ended goes on where
it was. docs/sweep.md has the form of a study file, clusters, and what the columns mean.

exit status: 0 all points ran, 1 some failed, 2 usage error, 101 any other error, such as a study file that is wrong or
a store that is not there, 130 Ctrl-C, 143 ended by SIGTERM, 129 by SIGHUP
"""

import os
import sys

from ..atomic_files import check_outputs, check_writable, write_whole
from ..config.units import parse_count
from ..errors import EXIT_OK, UsageError
from ..interrupts import unwinding
from . import flags
from .sweep_flags import FILES, add_engine_flags, add_file_flags, add_study_flags, engine_of, files_of_study, study_of
from .sweep_progress import duration, sweep_progress

EXIT_SOME_FAILED = 1
DEFAULT_TOP = 10


def configure(parser):
    """Arguments of the command."""
    add_study_flags(parser)
    parser.add_argument("--dry-run", action="store_true",
                        help="check everything, say how many points there are and about how long they take, and stop")
    add_engine_flags(parser)
    group = parser.add_argument_group("results")
    add_file_flags(group)
    group.add_argument("--columns", metavar="A,B", type=flags.filled, action=flags.Once, help="figures of the table")
    group.add_argument("--best", metavar="COLUMN", type=flags.filled, action=flags.Once,
                       help="the points with the smallest figures; --best=-COLUMN: the largest")
    group.add_argument("--top", metavar="N", type=flags.typed(parse_count), action=flags.Once,
                       help="how many --best shows (default: 10)")
    group.add_argument("--pareto", metavar="A,B", type=flags.filled, action=flags.Once,
                       help="the points that no other beats in these columns; -A: larger is better"
                       " (--pareto=-A,B)")
    group.add_argument("--pivot", metavar="DOWN,ACROSS[,COLUMN]", type=flags.filled,
                       action=flags.Once, help="a table over two keys (column: time_ms)")
    group.add_argument("--quiet", action="store_true", help="no table and no progress")
    figures = parser.add_argument_group("figures (extra report)")
    figures.add_argument("--plot", metavar="FILE", type=flags.path, action=flags.Once,
                         help="a figure: .svg, .png or .pdf")
    figures.add_argument("--kind", choices=("curve", "heat", "pareto", "parallel"), action=flags.Once,
                         help="what to draw (default: pareto with --pareto, else what shows most)")
    figures.add_argument("--plot-columns", metavar="A,B", type=flags.filled, action=flags.Once,
                         help="curve: key,figure; heat: down,across,figure; parallel: every axis")
    figures.add_argument("--report", nargs=2, metavar=("POINT", "FILE"), action=flags.Once,
                         help="the HTML report of the run of one point, by the beginning of its id")


def run(args):
    """Run the study; the exit status."""
    check_files(args)
    from ..precompile import kernel_mode

    kernel_mode()  # not found out by every point
    _check_figures(args)
    from ..sweeping.engine import Interrupted
    from ..sweeping.execution import open_store, run_study

    study, engine = study_of(args), engine_of(args)
    check_files(args, files_of_study(args, study))
    wanted = _Wanted(args, study)
    with sweep_progress(args.quiet) as watcher:
        try:
            with unwinding(with_ends=True):
                if args.dry_run and args.store and not args.resume and not os.path.lexists(args.store):
                    return _dry_run(study, open_store(None, False, False, watcher), wanted)  # makes no directory
                store = open_store(args.store, args.resume, args.retry_failed, watcher)
                if args.dry_run:
                    return _dry_run(study, store, wanted)
                result = run_study(study, engine, store, watcher, wanted.check)
        except Interrupted as stopped:
            return watcher.interrupted("plena-emu sweep", stopped, "points", bool(args.store))
    _draw(args, result, wanted)
    if args.report:
        with unwinding(with_ends=True):
            _point_report(args.report, study)
    return _report(args, result, wanted)


def check_files(args, inputs=()):
    """Refuse output files that cannot be, or are one of the `inputs` (name, path), before anything runs."""
    outputs = [*((name, getattr(args, name)) for name in (*FILES, "plot")), ("report", args.report and args.report[1])]
    check_outputs(((f"--{name}", path) for name, path in outputs if path != "-"), inputs)
    on_output = [f"--{name}" for name in FILES if getattr(args, name) == "-"]
    if len(on_output) > 1:
        raise UsageError(f"{' and '.join(on_output)}: found - more than once, expected one on standard output")
    for name in FILES:
        if getattr(args, name) not in (None, "-"):
            check_writable(getattr(args, name), f"--{name}")
    if args.parquet:
        from ..sweeping.outputs import check_parquet

        check_parquet("--parquet")


def check_different(flag, names):
    """Refuse a name that a flag has twice."""
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise UsageError(f"{flag}: found {twice} twice, expected different columns")


def is_output_taken(args):
    """Whether a file of the results is standard output, which has no table then."""
    return any(getattr(args, name) == "-" for name in FILES)


def _check_figures(args):
    """Refuse figures that cannot be, before anything runs."""
    if args.plot is None and (args.kind or args.plot_columns):
        raise UsageError("--kind and --plot-columns need --plot")
    if args.plot is None and args.report is None:
        return
    from ..report.figures import check_format, check_matplotlib

    check_matplotlib("--plot" if args.plot else "--report")
    if args.plot:
        check_format(args.plot)
        check_writable(args.plot, "--plot")
    if args.report:
        check_writable(args.report[1], "--report")


def _draw(args, result, wanted):
    if args.plot is None:
        return
    from ..report.figures import check_format
    from ..report.sweep_figures import draw_sweep

    kind, columns = wanted.figure(result)
    write_whole(args.plot, draw_sweep(result, kind, columns, check_format(args.plot)), "--plot")


def _point_report(wanted, study):
    """Run a point once more, with stages, and write the page about it."""
    from ..report.html import report_html
    from ..sweeping.rerun import rerun

    beginning, path = wanted
    with rerun(study, beginning) as (result, neutral):
        page = neutral(report_html([result], [None]))
    write_whole(path, page.encode("utf-8", "surrogateescape"), "--report")


class _Wanted:
    """What is to be shown, read before anything runs."""

    def __init__(self, args, study):
        from ..sweeping.results import SweepResult

        self.args = args
        self.plot_columns = args.plot_columns.split(",") if args.plot_columns else []
        self.columns = args.columns.split(",") if args.columns else []
        self.best = (args.best.removeprefix("-"), args.best.startswith("-")) if args.best else None
        self.pareto = args.pareto.split(",") if args.pareto else []
        self.pivot = args.pivot.split(",") if args.pivot else []
        if args.top is not None and not args.best:
            raise UsageError("--top: needs --best COLUMN")
        if args.top == 0:
            raise UsageError("--top: found 0, expected at least 1")
        if args.pivot and len(self.pivot) not in (2, 3):
            raise UsageError(f"--pivot {args.pivot}: expected DOWN,ACROSS or DOWN,ACROSS,COLUMN")
        if args.pareto and len(self.pareto) < 2:
            raise UsageError(f"--pareto {args.pareto}: expected at least two columns, such as time_ms,ddr_capacity")
        empty = SweepResult([], list(study.axes), study.varying)
        check_different("--columns", self.columns)
        empty.check_columns(self.columns + [name.removeprefix("-") for name in self.pareto] + self.pivot
                            + [name.removeprefix("-") for name in self.plot_columns])
        if self.best:
            empty.check_columns([self.best[0]], numbers=True)

    def figure(self, result):
        """Kind and columns of the figure of a result."""
        from ..report.sweep_figures import choose_kind

        columns = self.plot_columns or self.pareto
        kind = self.args.kind or (
            "pareto" if self.pareto and not self.plot_columns else choose_kind(result, columns))
        return kind, columns if self.plot_columns or kind == "pareto" else []

    def check(self, result):
        """Refuse what these points cannot be shown as; `result` has their values, and no figures yet."""
        if self.best:
            result.check_columns([self.best[0]], numbers=True)
        if self.pareto:
            result.check_columns([name.removeprefix("-") for name in self.pareto], numbers=True)
        if self.pivot and set(self.pivot[:2]) <= set(result.keys):
            result.pivot(*self.pivot)
        if self.args.plot is not None:
            from ..report.sweep_figures import check_figure

            check_figure(result, *self.figure(result))
        if self.args.report is not None:
            from ..sweeping.points import find_row

            find_row(result.rows, self.args.report[0])


def _dry_run(study, store, wanted):
    """Say what would run and about how long it takes."""
    from ..sweeping.execution import estimate_seconds, planned
    from ..sweeping.points import combinations
    from ..sweeping.specify import Specifier

    specifier = Specifier()
    points = specifier.points(study)
    wanted.check(planned(points, study))
    left = sum(point.id not in store for point in points)
    parts = [(len(points), "point"), (combinations(study), "combination"), (len({p.group for p in points}), "program")]
    points_told, *others = [f"{number:,} {what}{'s' * (number != 1)}" for number, what in parts]
    print(f"{points_told} of {', '.join(others)}; {len(points) - left:,} are stored")
    seconds = estimate_seconds(points, specifier, store)
    print(f"{'about ' if seconds >= 1 else ''}{duration(seconds)} in one process, less where points share more work")
    return EXIT_OK


def write_files(args, result, kind, more):
    """Write the files that were asked for; the JSON record is of a `kind` and has `more` in it."""
    from ..sweeping.outputs import WRITERS

    for name, writer in WRITERS.items():
        if getattr(args, name) == "-":
            sys.stdout.flush()
            sys.stdout.buffer.write(writer(result))
        elif getattr(args, name) is not None:
            write_whole(getattr(args, name), writer(result), f"--{name}")
    if args.json is None:
        return
    from ..result import record_json

    content = {"keys": result.keys, "varying": result.varying} | more | {"points": result.records()}
    record = record_json(kind, content, args.command_line)
    if args.json == "-":
        sys.stdout.write(record.decode())
    else:
        write_whole(args.json, record, "--json")


def _report(args, result, wanted):
    """Write the files and show the tables."""
    write_files(args, result, "sweep", {})
    if not args.quiet and not is_output_taken(args):
        _show(result, wanted, args.top or DEFAULT_TOP)
    return EXIT_SOME_FAILED if result.failures else EXIT_OK


def _show(result, wanted, top):
    from ..report.sweeps import failure_blocks, pivot_blocks, sweep_blocks
    from ..report.table import terminal_width, write

    blocks, width = [], terminal_width(sys.stdout)
    if wanted.pivot:
        blocks += pivot_blocks(result.pivot(*wanted.pivot))
    if wanted.best:
        column, largest = wanted.best
        columns = wanted.columns or ([] if column == "time_ms" or column in result.varying else [column, "time_ms"])
        blocks += sweep_blocks(result.best(column, top, largest), columns,
                               f"{'Largest' if largest else 'Smallest'} {column}", width)
    if wanted.pareto:
        names = [name.removeprefix("-") for name in wanted.pareto if name.removeprefix("-") not in result.varying]
        blocks += sweep_blocks(result.pareto(*wanted.pareto), wanted.columns or names,
                               f"No point beats these in {' and '.join(wanted.pareto)}", width)
    if not blocks:
        blocks = sweep_blocks(result, wanted.columns, None, width)
    elif result.failures:
        blocks += failure_blocks(result)
    write(blocks, sys.stdout)
