"""Estimate what a model costs on a board: time to the first token, time per output token, tokens a second.

  plena-emu estimate smollm2-135m --board custom_a7 --prefill 64 --decode 128
  plena-emu estimate smollm2-135m --timing rtl-v1 --schedule overlap

Without --board the memory is the reference's HBM2 and a core cycle 1000 ps. With --timing rtl-v1 transfers and units
run side by side.

Programs are compiled from the model's shapes and timed without data. A handful of decode positions is timed exactly,
the others follow from those; the error of that is measured at a position that was left out. --every-token times them
all. A bidirectional model has no decode: its estimate is one pass over the tokens of --prefill. A model with a vision
part is estimated for text; --image adds its encoder and connector.
"""

import sys

from ..inputs.choices import MEMORY_MODELS
from ..interrupts import unwinding
from . import hardware_flags
from .compile import add_model_flags, progress_bar
from .flags import Once, add_bandwidth_flag, add_capacity_flag, add_overlay_flags, named_output, path, typed
from .manifest import positive


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("model", metavar="MODEL", type=path, help="bundled name, directory or config file")
    parser.add_argument("--board", metavar="NAME", type=path, action=Once,
                        help="a board that ships, or the path of a board file (default: none)")
    parser.add_argument("--prefill", metavar="P", type=typed(positive), default=64, action=Once,
                        help="tokens of the prompt (default: 64)")
    parser.add_argument("--decode", metavar="D", type=typed(positive), action=Once,
                        help="tokens after the prompt (default: 128)")
    parser.add_argument("--every-token", action="store_true", help="time every decode position")
    parser.add_argument("--image", metavar="S", type=typed(positive), action=Once,
                        help="encode an image of S x S pixels first, whose tokens are among the prompt's")
    add_model_flags(parser)
    memory = parser.add_argument_group("memory")
    memory.add_argument("--memory-model", choices=MEMORY_MODELS, action=Once,
                        help="timing of the memory (default: with a board auto, without a host link resident; else"
                        " hbm)")
    add_capacity_flag(memory, "the board's")
    add_bandwidth_flag(memory, "the board's")
    add_overlay_flags(memory)
    hardware_flags.add_run_flags(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print the estimate as JSON")
    output.add_argument("--csv", metavar="FILE", type=named_output, action=Once,
                        help="write one line a program or position")


def run(args):
    """Print the estimate; 0."""
    from ..atomic_files import check_directory, check_outputs, write_whole
    from ..models.board_estimate import estimate
    from ..report.estimate import estimate_csv, estimate_text
    from ..report.table import terminal_width
    from ..result import record_json

    check_directory(args.csv, "CSV")
    check_outputs([("--csv", args.csv)], [("--board", args.board), ("MODEL", args.model)])
    named = ("preset", "layers", "batch", "vector_sram_rows", "schedule")
    options = {name: getattr(args, name) for name in named if getattr(args, name) is not None}
    with unwinding(), progress_bar("timing") as progress:
        found = estimate(
            args.model, board=args.board, prefill=args.prefill, decode=args.decode, every_token=args.every_token,
            image=args.image,
            memory_model=args.memory_model, ddr_capacity=args.ddr_capacity, host_bandwidth=args.host_bandwidth,
            clock_mhz=args.clock_mhz, dram=args.dram, ddr_speed=args.ddr_speed, progress=progress,
            from_flags=True, **hardware_flags.run_fields(args), **options)
    if args.csv:
        write_whole(args.csv, estimate_csv(found).encode(), "CSV")
    if args.json:
        sys.stdout.write(record_json("estimate", found, args.command_line).decode())
    else:
        print(estimate_text(found, terminal_width(sys.stdout)))
    return 0
