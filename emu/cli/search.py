"""Search a study for its best points: an optimiser chooses which points run.

  plena-emu search study.yaml --minimize board_time_ms,footprint_bytes --trials 500
  plena-emu search --model tiny --board custom_a7 --preset m64b16,m128b32 --clock-mhz 100..200:10 --minimize time_ms

Axes are those of plena-emu sweep. With one objective the best point is the answer, with several the points that no
other beats. The same seed asks for the same points, on any number of workers, and after a search that was ended: with
--store it goes on. Needs optuna, the extra `search`.

exit status: 0 there is an answer, 1 no point keeps every constraint, 2 usage error, 101 any other error, such as a
study file that is wrong or a store that is not there, 130 Ctrl-C, 143 ended by SIGTERM, 129 by SIGHUP
"""

import sys

from ..config.units import parse_count
from ..errors import EXIT_OK, UsageError
from ..interrupts import unwinding
from . import flags
from .sweep import check_different, check_files, is_output_taken, write_files
from .sweep_flags import add_engine_flags, add_file_flags, add_study_flags, engine_of, files_of_study, study_of
from .sweep_progress import sweep_progress

EXIT_NO_ANSWER = 1


def configure(parser):
    """Arguments of the command."""
    add_study_flags(parser)
    group = parser.add_argument_group("search")
    group.add_argument("--minimize", metavar="A,B", type=flags.filled, action=flags.Once, help="columns of the results")
    group.add_argument("--maximize", metavar="A,B", type=flags.filled, action=flags.Once, help="columns of the results")
    group.add_argument("--constraint", metavar="CONDITION", action="append", default=[],
                       help="what an answer has to keep, of keys and columns: 'tile_hint != \"exceeds_resources\"'")
    group.add_argument("--trials", metavar="N", type=flags.typed(parse_count), action=flags.Once,
                       help="points that are run, at most (default: 100)")
    group.add_argument("--seed", metavar="N", type=flags.typed(parse_count), action=flags.Once,
                       help="what the choice of points begins with (default: 0)")
    group.add_argument("--parallel", metavar="N", type=flags.typed(parse_count), action=flags.Once,
                       help="points asked for at a time, whatever the number of workers (default: 8)")
    group.add_argument("--fidelity", metavar="KEY=N", type=flags.filled, action=flags.Once,
                       help="run a cheaper point first, such as layers=2; what is worse there than most is not run in"
                       " full")
    add_engine_flags(parser)
    group = parser.add_argument_group("results")
    add_file_flags(group)
    group.add_argument("--columns", metavar="A,B", type=flags.filled, action=flags.Once, help="figures of the table")
    group.add_argument("--quiet", action="store_true", help="no table and no progress")
    parser.set_defaults(plot=None, report=None)


def run(args):
    """Search; the exit status."""
    check_files(args)
    from ..precompile import kernel_mode

    kernel_mode()  # not found out by every point
    from ..sweeping.engine import Interrupted
    from ..sweeping.execution import open_store
    from ..sweeping.results import SweepResult
    from ..sweeping.search import check_search, run_search

    study, engine = _study(args), engine_of(args)
    check_files(args, files_of_study(args, study))
    check_search(study, study.search)
    columns = args.columns.split(",") if args.columns else []
    check_different("--columns", columns)
    SweepResult([], list(study.axes), study.varying).check_columns(columns)
    with sweep_progress(args.quiet) as watcher:
        try:
            with unwinding(with_ends=True):
                store = open_store(args.store, args.resume, args.retry_failed, watcher)
                result = run_search(study, engine, store, watcher)
        except Interrupted as stopped:
            return watcher.interrupted("plena-emu search", stopped, "trials", bool(args.store))
    more = {"directions": result.directions, "answers": [row.id for row in result.answers], "pruned": result.pruned}
    write_files(args, result, "search", more)
    if not args.quiet and not is_output_taken(args):
        _show(result, columns)
    return EXIT_OK if result.answers.rows else EXIT_NO_ANSWER


def _study(args):
    """The study of the arguments, with the search that flags lay over the file's."""
    import msgspec

    study = study_of(args)
    given = {"trials": args.trials, "seed": args.seed, "parallel": args.parallel}
    changes = {name: value for name, value in given.items() if value is not None}
    for name in ("minimize", "maximize"):
        if getattr(args, name):
            changes[name] = getattr(args, name).split(",")
    if args.constraint:
        changes["constraints"] = args.constraint
    if args.fidelity:
        key, equals, number = args.fidelity.partition("=")
        if not equals:
            raise UsageError(f"--fidelity {args.fidelity}: expected KEY=N such as layers=2")
        changes["fidelity"] = {key: parse_count(number)}
    return msgspec.structs.replace(study, search=msgspec.structs.replace(study.search, **changes))


def _show(result, columns):
    from ..report.sweeps import sweep_blocks
    from ..report.table import write

    ran = f"{len(result.rows):,} of {result.combinations:,} points ran"
    ran += f", {result.pruned} were given up after a cheaper one" if result.pruned else ""
    ran += f", {len(result.failures)} failed" if result.failures else ""
    names = columns or [name for name in result.directions if name not in result.varying]
    wanted = " and ".join(f"{way[:-1]}ing {name}" for name, way in result.directions.items())
    if result.answers.rows:
        what = "The best point" if len(result.directions) == 1 else "No point beats these"
        blocks = sweep_blocks(result.answers, names, f"{what}, {wanted}")
    else:
        blocks = ["no point keeps every constraint"]
    write([*blocks, ran], sys.stdout)
