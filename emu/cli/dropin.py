"""`transactional_emulator`: the drop-in command line (spec chapter 5).

Nothing heavy is imported before the arguments are parsed.
"""

import os
import sys

from .. import __version__
from ..errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_OK, EmuError
from ..logs import Log
from . import flags
from .entry import say
from .parser import Parser

PROGRAM = "transactional_emulator"


def build_parser() -> Parser:
    """Parser of every flag of §5.1."""
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s --opcode FILE --hbm FILE --fpsram FILE [options]",
        description="Transaction-level emulator of the PLENA accelerator; dumps go to the working directory.",
    )
    flags.add_file_flags(parser, required=True)
    flags.add_model_flags(parser)
    flags.add_log_flags(parser)
    parser.add_argument("--version", action="version", version=f"%(prog)s (plena-emu {__version__})")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments of the process; returns the exit status of §5.5 (usage errors raise SystemExit 2)."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        isa = flags.revision(args)
        log = Log(args.log_level, os.environ.get("RUST_LOG"), args.log_file)
    except EmuError as error:
        say(PROGRAM, str(error))
        return error.exit_code
    try:
        wanted = {"dump_hbm": log.enabled("debug"), "trace": log.asked_for_debug, "stages": False}
        return _run(flags.request(args, isa, **wanted), log)
    except EmuError as error:
        log.fatal(PROGRAM, str(error))
        return error.exit_code
    except MemoryError:
        log.fatal(PROGRAM, "this machine has not enough memory for the run")
        return EXIT_ERROR
    except KeyboardInterrupt:
        log.fatal(PROGRAM, "interrupted")
        return EXIT_INTERRUPTED
    finally:
        log.close()


def _run(request, log):
    from ..precompile import choose_kernels

    choose_kernels(request)
    from ..running.log_records import final_records
    from ..running.runner import execute

    result = execute(request, log)
    final_records(log, result)
    for line in result.dump_errors:
        log.fatal(PROGRAM, line)
    return EXIT_ERROR if result.dump_errors else EXIT_OK


if __name__ == "__main__":
    from .entry import transactional_emulator

    sys.exit(transactional_emulator())
