"""Assemble FILE.asm to machine words, one hexadecimal word a line.

Without -o the words go to standard output. Errors name file, line and token.
"""

import sys

from . import flags


def configure(parser):
    parser.add_argument("source", metavar="FILE.asm", help="assembly text (spec §1.9)")
    parser.add_argument("-o", "--output", type=flags.path, metavar="FILE.mem", help="file for the words")
    flags.add_isa_flag(parser)


def run(args):
    from ..atomic_files import write_whole
    from ..errors import EmuError
    from ..program.assembler import assemble, mem_text

    revision = flags.revision(args)
    try:
        with open(args.source, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise EmuError(f"assembly {args.source}: cannot read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise EmuError(f"assembly {args.source}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    made = mem_text(assemble(text, revision, args.source))
    if args.output:
        write_whole(args.output, made.encode(), "program")
    else:
        sys.stdout.write(made)
    return 0
