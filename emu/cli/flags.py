"""Flags that the drop-in and `plena-emu run` share (spec §5.1), and the request they make."""

import argparse
import os
import time

from ..config.units import parse_bandwidth, parse_positive_size, parse_size
from ..errors import UsageError
from ..isa import REVISIONS
from ..logs import LEVELS
from ..request import DEFAULT_HOST_BANDWIDTH, MEMORY_MODELS, RunRequest

ISA_VARIABLE = "PLENA_ISA"


class Once(argparse.Action):
    """Stores a value and refuses the flag a second time: which of two values counts must not be a guess."""

    def __call__(self, parser, namespace, values, option_string=None):
        seen = namespace.__dict__.setdefault("seen_flags", set())
        if self.dest in seen:
            raise argparse.ArgumentError(self, "given more than once")
        seen.add(self.dest)
        setattr(namespace, self.dest, values)


def typed(parse):
    """Make an argparse type of `parse`: its `UsageError` becomes the parser's error."""

    def convert(text):
        try:
            return parse(text)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def clock(text):
    """Read a clock in MHz."""
    try:
        mhz = float(text) if text.isascii() and "_" not in text else 0.0
    except ValueError:
        mhz = 0.0
    if not 1e-3 <= mhz <= 1e6:
        raise UsageError(f"clock {text[:40]!r}: expected MHz, 0.001 to 1000000")
    return mhz


def path(text):
    """Refuse an empty path: it names nothing."""
    if not text:
        raise argparse.ArgumentTypeError("found an empty path, expected a file")
    return text


def add_file_flags(parser, required):
    """Add program, preloads and settings."""
    flags = parser.add_argument_group("files")
    for name, text, needed in (
        ("--opcode", "program: whitespace-separated hex words", required),
        ("--hbm", "HBM preload: raw bytes", required),
        ("--fpsram", "fp SRAM preload: f16 values", required),
        ("--intsram", "int SRAM preload: u32 values", False),
        ("--vram", "vector SRAM preload: packed rows", False),
        ("--settings", "settings TOML; else $PLENA_SETTINGS_TOML, ../plena_settings.toml, built-in defaults", False),
    ):
        flags.add_argument(name, metavar="FILE", help=text, required=needed, type=path, action=Once)


def add_isa_flag(parser):
    """Add `--isa`, resolved by `revision`."""
    parser.add_argument("--isa", choices=REVISIONS, action=Once,
                        help=f"ISA revision (default: ${ISA_VARIABLE}, else base)")


def add_model_flags(parser, capacity_flags=("--ddr3-capacity",), without_board=""):
    """Add revision, HBM size and everything about the memory model.

    `capacity_flags` are the spellings of the DDR capacity; `without_board` qualifies its default and the link's.
    """
    flags = parser.add_argument_group("machine")
    add_isa_flag(flags)
    flags.add_argument("--hbm-size", metavar="SIZE", type=typed(parse_positive_size), action=Once,
                       help="HBM size in place of HBM_SIZE; SIZE is bytes or has a suffix such as K, MB, GiB")
    flags.add_argument("--memory-model", choices=MEMORY_MODELS, default="hbm", action=Once,
                       help="timing of the memory (default: hbm)")
    flags.add_argument("--weight-manifest", metavar="FILE", type=path, action=Once,
                       help="manifest JSON; every model but hbm needs one")
    flags.add_argument(*capacity_flags, dest="ddr3_capacity", metavar="SIZE", type=typed(parse_size), action=Once,
                       help=f"board DDR capacity (default{without_board}: 512M)")
    flags.add_argument("--host-bandwidth", metavar="N", type=typed(parse_bandwidth), action=Once,
                       help=f"host link in bytes/s (default{without_board}: {DEFAULT_HOST_BANDWIDTH})")


def add_log_flags(parser):
    """Add level and file of the log records."""
    flags = parser.add_argument_group("log")
    flags.add_argument("--log-level", metavar="LEVEL", type=str.lower, choices=list(LEVELS), action=Once,
                       help="off, error, warn, info, debug or trace; beats $RUST_LOG (default: debug in name, "
                            "without a record an instruction)")
    flags.add_argument("--log-file", metavar="FILE", type=path, action=Once, help="write the records there as well")


def revision(args):
    """Resolve the revision: `--isa`, else `$PLENA_ISA`, else base; a variable that names none is a `UsageError`."""
    if args.isa:
        return args.isa
    named = os.environ.get(ISA_VARIABLE)
    if named and named not in REVISIONS:
        raise UsageError(f"${ISA_VARIABLE}: found {named!r}, expected {' or '.join(REVISIONS)}")
    return named or "base"


def fields(args) -> dict:
    """Take the fields of `RunRequest` that `add_file_flags` and `add_model_flags` name, None where left out."""
    return {
        "opcode": args.opcode,
        "hbm": args.hbm,
        "fpsram": args.fpsram,
        "intsram": args.intsram,
        "vram": args.vram,
        "settings_path": args.settings,
        "hbm_size": args.hbm_size,
        "memory_model": args.memory_model,
        "weight_manifest": args.weight_manifest,
        "ddr_capacity": args.ddr3_capacity,
        "host_bandwidth": args.host_bandwidth,
    }


def request(args, isa, **more) -> RunRequest:
    """Make the `RunRequest` of parsed flags; `more` sets or replaces fields."""
    return RunRequest(**(fields(args) | {"isa": isa, "started_at": time.perf_counter()} | more))
