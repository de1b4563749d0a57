"""Flags that `sweep` and `search` share: what varies, where points run, where they are kept."""

from __future__ import annotations

import os

from ..config.units import parse_count, parse_positive_size
from ..errors import UsageError
from . import flags

# Flag of a key: its help. Any other key is an --axis.
AXIS_FLAGS = {
    "model": "bundled models, directories or config files",
    "preset": "geometries: m64b16, or any m<MLEN>b<BLEN>h<HLEN>x<BROADCAST>",
    "prefill": "tokens of the prompt",
    "past": "decode steps after so many tokens",
    "batch": "sequences",
    "layers": "the first layers of the model",
    "board": "boards by name or file",
    "dram": "DRAMs by name or file",
    "memory-model": "memory models",
    "ddr-capacity": "bytes of DDR",
    "host-bandwidth": "host link, bytes a second",
    "clock-mhz": "core clocks",
    "ddr-speed": "factors on the data rate of the memory",
}


def add_study_flags(parser):
    """Add what varies: builds or a study file, axes, conditions."""
    parser.add_argument("sources", metavar="BUILD|STUDY.yaml", nargs="*", type=flags.path,
                        help="build directories to compare, or one study file")
    group = parser.add_argument_group("axes", "values: a,b,c; 2M..1G doubles; 2..9 steps by 1; 64..512:64 by 64;"
                                      " 2M..1G/9 is nine points, each the same multiple of the one before")
    for name, text in AXIS_FLAGS.items():
        group.add_argument(f"--{name}", metavar="VALUES", action=flags.Once, help=text)
    group.add_argument("--axis", metavar="KEY=VALUES", action="append", default=[],
                       help="any other key: board.latency.vector_add=2..9, dram.timing.tRCD=6..9,"
                       " settings.MLEN=64,128, latency_profile=…")
    group.add_argument("--where", metavar="CONDITION", action="append", default=[],
                       help="combinations that count: 'ddr_capacity >= 4M or board == \"v80\"'")
    group.add_argument("--zip", metavar="KEY,KEY", action="append", default=[],
                       help="axes that go side by side, not crosswise")


def add_engine_flags(parser):
    """Add where points run and where their records are kept."""
    group = parser.add_argument_group("where points run")
    group.add_argument("--workers", metavar="N", type=flags.typed(parse_count), action=flags.Once,
                       help="processes, at most 1024; 0: this one (default: one a CPU, where that is worth it)")
    group.add_argument("--scheduler", metavar="ADDRESS", type=flags.filled, action=flags.Once,
                       help="a Dask cluster that runs already, such as tcp://HOST:8786")
    group.add_argument("--memory-limit", metavar="SIZE", type=flags.typed(parse_positive_size), action=flags.Once,
                       help="memory of a worker, at least 200M; its points run again where it needs more (default: its"
                       " share)")
    group = parser.add_argument_group("what is kept")
    group.add_argument("--store", metavar="DIR", type=flags.path, action=flags.Once,
                       help="keep the record of each point; what it holds already is not run again")
    group.add_argument("--resume", action="store_true", help="go on with what --store holds; it has to be there")
    group.add_argument("--retry-failed", action="store_true", help="run points again that failed before")


FILES = {"csv": "every column of every point; - is standard output, also of the next three",
         "parquet": "the same as Parquet (extra sweep)", "jsonl": "the same as JSON lines",
         "json": "keys and points as one JSON record"}


def add_file_flags(group):
    """Add the files that hold every point."""
    for name, text in FILES.items():
        group.add_argument(f"--{name}", metavar="FILE", type=flags.path, action=flags.Once, help=text)


def study_of(args):
    """Read the study that the arguments describe; raises `EmuError`.

    Returns
    -------
    Study
    """
    from ..sweeping.study import load_study, make_study

    axes = axes_of(args)
    studies = [path for path in args.sources if path.endswith((".yaml", ".yml")) and not os.path.isdir(path)]
    if studies:
        if len(args.sources) > 1:
            raise UsageError(f"{studies[0]}: found a study beside other arguments, expected it alone")
        if args.zip or args.where:
            raise UsageError("--zip and --where: a study file has keys of its own for them")
        return load_study(studies[0], axes)
    zipped = [text.split(",") for text in args.zip]
    return make_study(axes, zipped, args.where)


def files_of_study(args, study) -> list[tuple[str, str]]:
    """List the files that the points of a study read, and those of its store: (what names it, path).

    Returns
    -------
    list of (str, str)
    """
    from ..config.build_dir import files_of_build

    found = [("STUDY.yaml", path) for path in args.sources]
    for key, values in study.axes.items():
        for value in values:
            if isinstance(value, str):
                found += [(key, value), (key, os.path.join(value, "config.json")), *files_of_build(value)]
    for folder, _, names in os.walk(args.store or os.devnull):
        found += [("--store", os.path.join(folder, name)) for name in names]
    return found


def axes_of(args) -> dict[str, object]:
    """Collect the axes of flags and build directories, as they were written and in that order."""
    builds = [path for path in args.sources if os.path.isdir(path) or not path.endswith((".yaml", ".yml"))]
    axes: dict[str, object] = {"build": builds} if builds else {}
    for name in AXIS_FLAGS:
        key = name.replace("-", "_")
        if getattr(args, key) is not None:
            axes[key] = getattr(args, key)
    for text in args.axis:
        key, equals, written = text.partition("=")
        if not equals or not key:
            raise UsageError(f"--axis {text}: expected KEY=VALUES")
        if key in axes:
            raise UsageError(f"--axis {key}: given more than once")
        axes[key] = written
    return dict(sorted(axes.items(), key=lambda axis: _place(axis[0], args.command_line)))


def _place(key, words):
    """Where a command line names an axis: their order is that of the points. Builds come first."""
    flag = f"--{key.replace('_', '-')}"
    found = (number for number, word in enumerate(words)
             if word == flag or word.startswith((f"{flag}=", f"{key}=", f"--axis={key}=")))
    return next(found, -1)


def engine_of(args):
    """Make the options of the engine; raises `UsageError`.

    Returns
    -------
    EngineOptions
    """
    from ..sweeping.engine import EngineOptions

    return EngineOptions(scheduler=args.scheduler, workers=args.workers, memory_limit=args.memory_limit)
