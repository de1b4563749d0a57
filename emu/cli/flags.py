"""Flags that the drop-in and `plena-emu run` share (spec §5.1), and the request they make."""

import argparse
import os
import time

from ..config.units import parse_bandwidth, parse_positive_size, parse_rate, parse_size
from ..errors import UsageError
from ..inputs.choices import DEFAULT_HOST_BANDWIDTH, MEMORY_MODELS
from ..isa import REVISIONS
from ..logs import LEVELS
from .importing import importing

TYPE_CHECKING = False  # as `typing` has it, whose import --help need not wait for
if TYPE_CHECKING:
    from ..request import RunRequest

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
    from ..boards.core_clock import parse_clock

    return parse_clock(text)


def speed(text):
    """Read a factor on a data rate."""
    from ..boards.dram_speed import parse_speed

    return parse_speed(text)


def path(text):
    """Refuse an empty path: it names nothing."""
    if not text:
        raise argparse.ArgumentTypeError("found an empty path, expected a file")
    return text


def filled(text):
    """Refuse an empty value: it names nothing, and must not read as if the flag were not there."""
    if not text.strip():
        raise argparse.ArgumentTypeError("found an empty value, expected a name")
    return text


def output(text):
    """Take the name of an output file; `-` is standard output, None. A file of that name is `./-`."""
    return None if text == "-" else path(text)


def named_output(text):
    """Take the name of an output that cannot share standard output with what a command prints."""
    if text == "-":
        raise argparse.ArgumentTypeError("found -, expected a file (./- for one of that name): standard output has the"
                                         " summary")
    return path(text)


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


class NamedCapacity(Once):
    """Stores a DDR capacity and the spelling it was given with, for messages."""

    def __call__(self, parser, namespace, values, option_string=None):
        super().__call__(parser, namespace, values, option_string)
        namespace.ddr_capacity_origin = option_string


def add_capacity_flag(parser, default, names=("--ddr-capacity",)):
    """Add the DDR capacity under `names`; the help of the first says what the `default` is."""
    for name, text in zip(names, (f"DDR capacity (default: {default})", argparse.SUPPRESS), strict=False):
        parser.add_argument(name, dest="ddr_capacity", metavar="SIZE", type=typed(parse_size), action=NamedCapacity,
                            help=text)
    parser.set_defaults(ddr_capacity_origin=names[0])


def add_bandwidth_flag(parser, default):
    """Add the host link's bandwidth, with units (spec §10.1)."""
    parser.add_argument("--host-bandwidth", metavar="RATE", type=typed(parse_rate), action=Once,
                        help="host link: bytes a second, or 1500M, 1.5GB/s, decimal as links are sold (default:"
                        f" {default})")


def add_overlay_flags(group, without_board="; without a board in place of the idealised banks, or of hbm2"):
    """Add what lays over a board: clock, part and the part's data rate; `without_board` ends the help of the part."""
    group.add_argument("--clock-mhz", metavar="MHZ", type=typed(clock), action=Once,
                       help="core clock in place of the board's")
    group.add_argument("--dram", metavar="NAME", type=path, action=Once,
                       help="a DRAM behind its controller (plena-emu dram --list) or the path of a description, in"
                            f" place of the board's{without_board}")
    group.add_argument("--ddr-speed", metavar="FACTOR", type=typed(speed), action=Once,
                       help="data rate of the board's memory times FACTOR; core timings keep their nanoseconds")


def add_model_flags(parser):
    """Add revision, HBM size and everything about the memory model, as the drop-in has it (§5.1)."""
    flags = _add_machine_flags(parser, "hbm", parse_size)  # 0 is refused once it is known how (§7.1)
    add_capacity_flag(flags, "512M", ("--ddr3-capacity",))
    flags.add_argument("--host-bandwidth", metavar="N", type=typed(parse_bandwidth), action=Once,
                       help=f"host link in bytes/s (default: {DEFAULT_HOST_BANDWIDTH})")


def add_board_model_flags(parser):
    """Add the same for a command that takes a board: its capacity and its link are the defaults."""
    flags = _add_machine_flags(parser, "hbm, with a board auto")
    add_capacity_flag(flags, "the board's, else 512M", ("--ddr-capacity", "--ddr3-capacity"))
    add_bandwidth_flag(flags, f"the board's, else {DEFAULT_HOST_BANDWIDTH // 10**6}M")


def _add_machine_flags(parser, default_model, read_size=parse_positive_size):
    flags = parser.add_argument_group("machine")
    add_isa_flag(flags)
    flags.add_argument("--hbm-size", metavar="SIZE", type=typed(read_size), action=Once,
                       help="HBM size in place of HBM_SIZE; SIZE is bytes or has a suffix such as K, MB, GiB")
    flags.add_argument("--memory-model", choices=MEMORY_MODELS, action=Once,
                       help=f"timing of the memory (default: {default_model})")
    flags.add_argument("--weight-manifest", metavar="FILE", type=path, action=Once,
                       help="manifest JSON; every model but hbm needs one")
    return flags


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
        "ddr_capacity": args.ddr_capacity,
        "ddr_capacity_origin": args.ddr_capacity_origin,
        "host_bandwidth": args.host_bandwidth,
        "from_flags": True,
    }


def request(args, isa, **more) -> "RunRequest":
    """Make the `RunRequest` of parsed flags; `more` sets or replaces fields."""
    began = time.perf_counter()
    with importing():  # its class takes longer to make than all flags, and what checks its fields is imported then
        from ..request import RunRequest

        return RunRequest(**(fields(args) | {"isa": isa, "started_at": began} | more))
