"""Compare the last run of a compiled model with the reference forward.

  plena-emu run BUILD && plena-emu check BUILD

The references were computed when the model was compiled: an f32 forward, and one with the weights, inputs and caches
that the machine can hold. Shows the relative RMS error of each result against both, and whether the largest logits
agree where the f32 forward is clear about them.

Every result has bars. Where one does not hold, but a forward in numpy that rounds as the machine's rows do is as far
off, and depth explains it, the report says so: then it is the number formats, not the program. Weights are compared
with the model's own, and the cache of a decode step with what the earlier build should have stored.

exit status: 0 the program is right, 2 usage error, 101 a bar is broken or any other error
"""

import sys

from ..errors import EXIT_ERROR, EXIT_OK
from .flags import Once, path


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("build", metavar="BUILD", type=path, help="build directory of a compiled model")
    parser.add_argument("--dump-dir", metavar="DIR", type=path, action=Once,
                        help="where the dumps are (default: the build directory)")
    parser.add_argument("--per-layer", action="store_true", help="show the cached K and V of every layer as well")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args):
    """Print the report; 0, or 101 where a bar is broken."""
    from ..models.check import check_build
    from ..report.check import check_text
    from ..report.table import terminal_width
    from ..result import record_json

    report = check_build(args.build, args.dump_dir)
    if args.json:
        sys.stdout.write(record_json("check", report, args.command_line).decode())
    else:
        print(check_text(report, args.per_layer, terminal_width(sys.stdout)))
    return EXIT_OK if report.ok else EXIT_ERROR
