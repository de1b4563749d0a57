"""Flags of hardware timing (spec §7.12): those of the drop-in, and those of `plena-emu run`."""

from ..config.hardware_checks import is_channels
from ..config.units import parse_count
from ..errors import EmuError, UsageError
from ..inputs.choices import DMAS, MOST_CHANNELS
from . import flags

MODES = ("legacy", "rtl-v1")
LEVELS = ("aggregate", "opcode")
PROFILE_NAME = "memory_profile.json"


def parse_channels(text: str) -> int:
    """Parse a number of channels of hbm2 (§7.1)."""
    number = parse_count(text)
    if not is_channels(number):
        raise UsageError(f"number {text!r}: expected a power of two from 1 to {MOST_CHANNELS}")
    return number


def parse_rows(text: str) -> int:
    """Parse a number of rows, at least 1."""
    number = parse_count(text)
    if number == 0:
        raise UsageError(f"number {text!r}: expected at least 1")
    return number


def add_run_flags(parser) -> None:
    """Add the two switches of `plena-emu run`, and the channels."""
    group = parser.add_argument_group("hardware timing")
    group.add_argument("--timing", metavar="NAME", type=flags.path, default="serial", action=flags.Once,
                       help="serial (default): one instruction after the other; rtl-v1 or the path of a timing file:"
                            " units side by side")
    group.add_argument("--dma", choices=DMAS, action=flags.Once,
                       help="how transfers reach the memory: reference, or production, which moves each line once"
                            " (default: production where --timing is not serial)")
    _add_channels(group)


def add_trace_flags(parser) -> None:
    """Add the event trace of `plena-emu run`."""
    group = parser.add_argument_group("event trace")
    group.add_argument("--event-trace", metavar="FILE", type=flags.path, action=flags.Once,
                       help="write where each instruction sits on the timeline: a table, FILE.parquet or FILE.csv, or"
                            " FILE.json as the drop-in writes it")
    group.add_argument("--event-rows", metavar="N", type=flags.typed(parse_rows), action=flags.Once,
                       help="most rows of the table (default: 10000000)")


def run_fields(args) -> dict:
    """Give the request's fields for `add_run_flags`."""
    return {"timing": args.timing, "dma": args.dma, "hbm_channels": args.hbm_channels}


def trace_fields(args) -> dict:
    """Give the request's fields for `add_trace_flags`.

    Raises
    ------
    UsageError
        The name ends otherwise, or nothing would be written.
    """
    path = args.event_trace
    if path is None:
        if args.event_rows is not None:
            raise UsageError("--event-rows needs --event-trace")
        return {}
    if args.timing == "serial" and args.dma != "production":
        raise UsageError("--event-trace needs hardware timing (--timing rtl-v1 or --dma production)")
    if path.endswith(".json"):
        if args.event_rows is not None:
            raise UsageError("--event-rows: not with FILE.json, which has every instruction")
        return {"event_trace": path}
    if not path.endswith((".parquet", ".csv")):
        raise UsageError(f"--event-trace {path}: expected a name that ends in .parquet, .csv or .json")
    return {"event_table": path} | ({"event_rows": args.event_rows} if args.event_rows else {})


def add_dropin_flags(parser) -> None:
    """Add the flags of §7.12; all but the first need the first."""
    group = parser.add_argument_group("hardware timing")
    group.add_argument("--timing-mode", choices=MODES, action=flags.Once,
                       help="production DMA, and the serial latency or the rtl-v1 timeline (default: neither)")
    _add_channels(group)
    for name, text in (
        ("--event-trace", "one event an instruction, as JSON"),
        ("--dma-event-trace", "the events of the DMAs, as JSON"),
        ("--rtl-validation-output", "how far the costs were measured on the RTL, as JSON"),
    ):
        group.add_argument(name, metavar="FILE", type=flags.path, action=flags.Once, help=text)
    group.add_argument("--require-rtl-validated", action="store_true",
                       help="end with status 4 unless every instruction was measured on the RTL")
    group.add_argument("--profile-memory", action="store_true", help="write a memory profile as JSON")
    group.add_argument("--profile-memory-level", choices=LEVELS, action=flags.Once,
                       help="categories alone, or operations as well (default: opcode)")
    group.add_argument("--profile-output", metavar="FILE", type=flags.path, action=flags.Once,
                       help=f"where the memory profile goes (default: {PROFILE_NAME} beside the program)")
    group.add_argument("--no-state-dumps", action="store_true", help="write no dump files")


def _add_channels(group):
    group.add_argument("--hbm-channels", metavar="N", type=flags.typed(parse_channels), action=flags.Once,
                       help="channels of the HBM in place of HBM_CHANNELS, a power of two up to 256")


# Destination of each flag of §7.12 but `--timing-mode`, and what it holds where it was not given.
_NEED_MODE = {
    "hbm_channels": None, "event_trace": None, "dma_event_trace": None, "rtl_validation_output": None,
    "require_rtl_validated": False, "profile_memory": False, "profile_memory_level": None, "profile_output": None,
    "no_state_dumps": False,
}  # fmt: skip


def dropin_fields(args) -> dict:
    """Give the request's fields for `add_dropin_flags`.

    Raises
    ------
    UsageError
        A flag without the one it needs.
    EmuError
        An HBM of 0 bytes, which this chapter refuses as it does other sizes (§7.1), or a validation of the serial mode,
        which has none (§7.12).
    """
    if args.hbm_size == 0:
        raise EmuError("--hbm-size: found 0, expected a multiple of 64")
    if args.timing_mode is None:
        given = [dest for dest, absent in _NEED_MODE.items() if getattr(args, dest) != absent]
        if given:
            raise UsageError(f"--{given[0].replace('_', '-')} needs --timing-mode")
        return {}
    for dest in ("profile_memory_level", "profile_output"):
        if getattr(args, dest) is not None and not args.profile_memory:
            raise UsageError(f"--{dest.replace('_', '-')} needs --profile-memory")
    if args.require_rtl_validated and args.timing_mode == "legacy":
        raise EmuError("--require-rtl-validated: nothing is validated with --timing-mode legacy")
    fields = {name: getattr(args, name) for name in
              ("hbm_channels", "event_trace", "dma_event_trace", "rtl_validation_output", "profile_output")}
    fields["timing"] = "serial" if args.timing_mode == "legacy" else args.timing_mode
    fields["dma"] = "production"
    if args.profile_memory:
        fields["memory_profile"] = args.profile_memory_level or "opcode"
    if args.no_state_dumps:
        fields["dump_dir"] = None
    return fields
