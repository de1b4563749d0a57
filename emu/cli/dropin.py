"""`transactional_emulator`: the drop-in command line (spec chapter 5).

Nothing heavy is imported before the arguments are parsed.
"""

import os
import sys

from .. import __version__, interrupts
from ..errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_NOT_VALIDATED, EXIT_OK, EmuError, UsageError
from ..logs import Log
from . import flags, hardware_flags
from .entry import say
from .importing import importing
from .parser import Parser

PROGRAM = "transactional_emulator"


def build_parser() -> Parser:
    """Make the parser of every flag of §5.1."""
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s --opcode FILE --hbm FILE\n"
              "                              --fpsram FILE [options]",
        description="Transaction-level emulator of the PLENA accelerator; dumps go to the working directory.",
    )
    flags.add_file_flags(parser, required=True)
    flags.add_model_flags(parser)
    _add_stage_profile_flags(parser)
    hardware_flags.add_dropin_flags(parser)
    flags.add_log_flags(parser)
    parser.add_argument("--version", action="version", version=f"%(prog)s (plena-emu {__version__})")
    return parser


def _add_stage_profile_flags(parser):
    """Add the flags of chapter 8; the revision decides whether they may be used."""
    group = parser.add_argument_group("stage profile (--isa moe)")
    group.add_argument("--stage-profile-asm", metavar="FILE", type=flags.path, action=flags.Once,
                       help="assembly text of the program: write what its stages of routed experts took")
    group.add_argument("--stage-profile-out", metavar="FILE", type=flags.path, action=flags.Once,
                       help="where to (default: stage_profile.json)")
    group.add_argument("--stage-profile-schema", metavar="N", type=int, choices=(1, 2), action=flags.Once,
                       help="1 or 2 (default: 1)")
    group.add_argument("--experimental-overlap-prefetch-compute", action="store_true",
                       help="say what the run would take if prefetches ran beside later, independent compute")


def _stage_profile_fields(args, isa):
    """Fields of `RunRequest`; a `UsageError` in the revision that has none of these flags."""
    fields = {"stage_profile_asm": "stage_profile_asm", "stage_profile_out": "stage_profile_out",
              "stage_profile_schema": "stage_profile_schema", "experimental_overlap_prefetch_compute": "overlap"}
    given = [name for name in fields if getattr(args, name) not in (None, False)]
    if given and isa != "moe":
        raise UsageError(f"--{given[0].replace('_', '-')}: only --isa moe has it")
    return {fields[name]: getattr(args, name) for name in given}


def main(argv: list[str] | None = None) -> int:
    """Run with the arguments of the process; returns the exit status of §5.5 (usage errors raise SystemExit 2)."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.hbm_size == 0 and args.timing_mode is None:
        parser.error("argument --hbm-size: size '0': found 0, expected at least 1 byte")
    with importing():
        from ..running.run_files import check_files_of_run

    try:
        isa = flags.revision(args)
        hardware = hardware_flags.dropin_fields(args)
        check_files_of_run(flags.fields(args) | hardware | {"isa": isa, "dump_dir": os.curdir}, log_file=args.log_file)
        log = Log(args.log_level, os.environ.get("RUST_LOG"), args.log_file)
    except EmuError as error:
        say(PROGRAM, str(error))
        return error.exit_code
    interrupts.announce_by(lambda: log.fatal(PROGRAM, "interrupted"))
    try:
        wanted = {"dump_hbm": log.enabled("debug"), "trace": log.asked_for_debug, "say_unused": False, "stages": False,
                  **_stage_profile_fields(args, isa), **hardware}
        return _run(flags.request(args, isa, **wanted), args.require_rtl_validated, log)
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


def _run(request, must_be_validated, log):
    from ..precompile import kernels_of, make_ready

    make_ready(kernels_of(request))
    with importing():
        from ..running.log_records import final_records
        from ..running.runner import execute

    result = execute(request, log)
    final_records(log, result)
    for line in result.dump_errors:
        log.fatal(PROGRAM, line)
    if result.dump_errors:
        return EXIT_ERROR
    return _check_validated(result, log) if must_be_validated else EXIT_OK


def _check_validated(result, log):
    """Status of `--require-rtl-validated`, with one line where it is not 0 (spec §7.12)."""
    found = result.hardware.timeline["rtl_validation"]
    if found["status"] == "validated":
        return EXIT_OK
    log.fatal(PROGRAM, f"--require-rtl-validated: found {found['status']}: of {found['total_opcodes']} instructions the"
                       f" RTL does not support {found['unsupported_opcodes']}, and {found['out_of_domain_opcodes']} lie"
                       " outside what was measured")
    return EXIT_NOT_VALIDATED


if __name__ == "__main__":
    from .entry import transactional_emulator

    sys.exit(transactional_emulator())
