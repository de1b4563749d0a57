"""Disassemble machine words to text that assembles to the same words.

A word that no instruction line produces is written as .word 0xXXXXXXXX.
"""

import sys

from . import flags


def configure(parser):
    parser.add_argument("program", metavar="FILE.mem", type=flags.path,
                        help="whitespace-separated hexadecimal words")
    parser.add_argument("-o", "--output", type=flags.output, action=flags.Once, metavar="FILE.asm",
                        help="file for the text (default, or -: standard output)")
    flags.add_isa_flag(parser)


def run(args):
    from ..atomic_files import check_outputs, write_whole
    from ..program.assembler import disassemble
    from ..program.decode import read_words

    revision = flags.revision(args)
    check_outputs([("-o", args.output)], [("FILE.mem", args.program)])
    text = "".join(f"{line}\n" for line in disassemble(read_words(args.program), revision))
    if args.output:
        write_whole(args.output, text.encode(), "assembly")
    else:
        sys.stdout.write(text)
    return 0
