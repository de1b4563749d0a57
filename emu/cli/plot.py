"""A figure of a run for slides: stages, roofline, latency over DDR capacity, or bandwidth over time.

  plena-emu plot r.json --kind stages -o stages.svg

RUN.json is a record of plena-emu run --json; for --kind timeline of a run with --timeline. Needs matplotlib, the
extra `report`.
"""

from ..atomic_files import check_directory, write_whole
from . import flags

KINDS = ("stages", "roofline", "capacity", "timeline")


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("record", metavar="RUN.json", type=flags.path, help="record of plena-emu run --json")
    parser.add_argument("--kind", choices=KINDS, required=True, action=flags.Once, help="what to draw")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, type=flags.path, action=flags.Once,
                        help="the figure: .svg, .png or .pdf")
    parser.add_argument("--dark", action="store_true", help="on a dark ground")


def run(args):
    """Write the figure; 0."""
    from ..report.figures import DARK, LIGHT, check_format, check_matplotlib, draw
    from ..result.reading import read_run
    from ..running.provenance import changed_since
    from .entry import say
    from .report import check_output, curve_of

    format = check_format(args.output)
    check_directory(args.output, "-o")
    check_matplotlib("plot")
    result = read_run(args.record)
    check_output(args.output, [args.record], [result])
    curve = None
    if args.kind == "capacity":
        curve = curve_of(result)
        if changed := changed_since(result):
            say("plena-emu plot", f"warning: changed since the run: {', '.join(changed)}; the curve is that of the"
                                  " files as they are now")
    drawn = draw(args.kind, result, curve, DARK if args.dark else LIGHT, format=format)
    write_whole(args.output, drawn, "figure")
    return 0
