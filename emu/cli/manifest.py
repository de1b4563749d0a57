"""Write the weight manifest of a build directory from its address and size tables.

  plena-emu manifest BUILD --board custom_a7

BUILD holds hbm_addrs.json, and hbm_sizes.json and tensor_layouts.json where they exist. The report says where
each size came from, what was cut or dropped, and which regime the model falls into at the board's capacity.
"""

from ..config.units import parse_count
from ..errors import UsageError
from ..manifests.region_names import parse_kind
from .flags import Once, add_capacity_flag, path, typed


def configure(parser):
    """Add the arguments of the command."""
    parser.add_argument("build_dir", metavar="BUILD", type=path, help="build directory of a testbench")
    parser.add_argument("--board", required=True, metavar="NAME", action=Once,
                        help="a board that ships, or the path of a board file")
    add_capacity_flag(parser, "the board's")
    parser.add_argument("--kind", metavar="PATTERN=KIND", type=typed(parse_kind), action="append", default=[],
                        help="regions whose names match PATTERN (* and ?) are weight, kv or activation; may be given"
                        " more than once, the last match counts")
    parser.add_argument("--total-layers", metavar="N", type=typed(positive), action=Once,
                        help="project the footprint to N layers")
    parser.add_argument("-o", "--output", metavar="FILE", type=path, action=Once,
                        help="where to write (default: BUILD/weight_manifest.json; - is standard output, without the"
                             " report)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def positive(text):
    """Read a count of at least 1."""
    number = parse_count(text)
    if number == 0:
        raise UsageError(f"number {text!r}: expected at least 1")
    return number


def run(args):
    """Write the manifest and print the report; 0."""
    import os
    import sys

    import msgspec

    from ..atomic_files import check_outputs, write_whole
    from ..boards import load_board
    from ..manifests.generate import generate, manifest_json
    from ..report.manifest import report_text
    from ..result import record_json

    names = ("hbm_addrs.json", "hbm_sizes.json", "tensor_layouts.json")
    tables = [(name, os.path.join(args.build_dir, name)) for name in names]
    to_output = args.output == "-"
    if to_output and args.json:
        raise UsageError("-o -: not with --json, which prints as well")
    check_outputs([("-o", None if to_output else args.output)], [("--board", args.board), *tables])
    board = load_board(args.board)
    manifest, report = generate(args.build_dir, board, args.ddr_capacity, args.total_layers, args.kind)
    if to_output:
        sys.stdout.write(manifest_json(manifest))
        return 0
    target = args.output or manifest.source
    write_whole(target, manifest_json(manifest).encode(), "weight manifest")
    if args.json:
        content = {"manifest": target, **msgspec.to_builtins(report)}
        sys.stdout.write(record_json("manifest", content, args.command_line).decode())
    else:
        print(report_text(report, target))
    return 0
