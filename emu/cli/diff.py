"""What two runs differ in: latency, stages, HBM regions, bytes, settings and inputs.

  plena-emu run BUILD --json a.json
  plena-emu run BUILD --board custom_a7 --json b.json
  plena-emu diff a.json b.json --fail-above 2%

The largest change of each table comes first.

exit status: 0, or 1 where --fail-above was given and the latency of the second run is longer by more than that;
2 usage error, 101 a record that cannot be read
"""

import sys

from ..errors import EXIT_OK, UsageError
from . import flags

EXIT_SLOWER = 1


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("before", metavar="A.json", type=flags.path, help="record of plena-emu run --json")
    parser.add_argument("after", metavar="B.json", type=flags.path, help="another one")
    parser.add_argument("--fail-above", metavar="P%", type=flags.typed(_percent), action=flags.Once,
                        help="exit with 1 where the latency grew by more than P percent")
    parser.add_argument("--all", action="store_true", help="show every row of every table")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _percent(text):
    """A share from a percentage, with or without the sign."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"percentage {text!r}: expected a number from 0, such as 2%")
    return value / 100


def run(args):
    """Print the differences."""
    from ..report.differences import differences_text
    from ..report.table import terminal_width
    from ..result import record_json
    from ..result.reading import read_run
    from ..running.attribution.differences import differences

    found = differences(read_run(args.before), read_run(args.after))
    if args.json:
        sys.stdout.write(record_json("diff", found, args.command_line).decode())
    else:
        print(differences_text(found, terminal_width(sys.stdout), args.all))
    grew_too_much = args.fail_above is not None and found.slower_by > args.fail_above
    if grew_too_much and not args.json:
        print(f"the latency grew by more than {100 * args.fail_above:g} %")
    return EXIT_SLOWER if grew_too_much else EXIT_OK
