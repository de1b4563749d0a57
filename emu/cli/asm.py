"""Assemble FILE.asm to machine words, one hexadecimal word a line.

Without -o, or with -o -, the words go to standard output. Errors name file, line and token.
"""

import sys

from . import flags


def configure(parser):
    parser.add_argument("source", metavar="FILE.asm", type=flags.path, help="assembly text (spec §1.9)")
    parser.add_argument("-o", "--output", type=flags.output, action=flags.Once, metavar="FILE.mem",
                        help="file for the words (default, or -: standard output)")
    flags.add_isa_flag(parser)
    parser.add_argument("--reference-masks", action="store_true",
                        help="put the mask of V_EXP_V, V_RECI_V, V_RED_SUM and V_RED_MAX where older assemblers of the"
                             " reference put it, into bits that these instructions do not read")


def run(args):
    from ..atomic_files import check_outputs, write_whole
    from ..program.assembler import assemble, mem_text, read_source

    revision = flags.revision(args)
    check_outputs([("-o", args.output)], [("FILE.asm", args.source)])
    text = read_source(args.source)
    made = mem_text(assemble(text, revision, args.source, reference_masks=args.reference_masks))
    if args.output:
        write_whole(args.output, made.encode(), "program")
    else:
        sys.stdout.write(made)
    return 0
