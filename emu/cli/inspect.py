"""Values inside a run: the program runs with its data up to a place, and what stands there then is printed.

  plena-emu inspect BUILD --at 0/attn.qkv --rows 64:66 --fp

PLACE is count=N (N instructions have run), pc=N or a stage such as attn.qkv or 0/attn.qkv (just before its first
instruction), or end. Values of SRAMs are numbers, the HBM is bytes.
"""

import os
import re

from ..errors import EmuError, UsageError
from . import flags


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("build_dir", metavar="BUILD_DIR", type=flags.path, help="build directory of a testbench")
    parser.add_argument("--at", metavar="PLACE", required=True, action=flags.Once,
                        help="count=N, pc=N, an operator such as attn.qkv, 0/attn.qkv, or end")
    parser.add_argument("--rows", metavar="A[:B]", type=flags.typed(_span), action=flags.Once,
                        help="rows A to B - 1 of the vector SRAM")
    parser.add_argument("--tile", metavar="A[:B]", type=flags.typed(_span), action=flags.Once,
                        help="tiles of the matrix SRAM")
    parser.add_argument("--hbm", metavar="A[:B]", type=flags.typed(_span), action=flags.Once,
                        help="bytes A to B - 1 of the HBM")
    parser.add_argument("--fp", action="store_true", help="fp registers and fp SRAM")
    parser.add_argument("--gp", action="store_true", help="integer registers")
    flags.add_isa_flag(parser)


def _span(text):
    """A number or a range A:B."""
    found = re.fullmatch(r"([0-9]{1,18})(?::([0-9]{1,18}))?", text)
    if not found or (found[2] is not None and int(found[2]) <= int(found[1])):
        raise UsageError(f"range {text!r}: expected A or A:B with A below B")
    return range(int(found[1]), int(found[2]) if found[2] else int(found[1]) + 1)


def run(args):
    """Print the values; 0."""
    if not (args.fp or args.gp or args.rows or args.tile or args.hbm):
        raise UsageError("found nothing to show, expected some of --rows, --tile, --hbm, --fp and --gp")
    from ..config.build_dir import fields_of
    from ..logs import Log
    from ..precompile import kernels_of, make_ready
    from ..request import RunRequest

    fields = fields_of(args.build_dir, {"isa": flags.revision(args), "from_flags": True})
    # Values do not depend on the memory model.
    request = RunRequest(**(fields | {"memory_model": "hbm", "dump_dir": None, "stages": False}))
    make_ready(kernels_of(request))
    from ..running.runner import execute

    if args.at != "end":
        request.max_instructions = _count(request, args.at)
    shown = []
    execute(request, Log("off"), lambda simulation: shown.extend(_show(args, simulation, request.max_instructions)))
    print("\n".join(shown))
    return 0


def _count(request, place):
    """Instructions that run before a place; it may be 0, which a request alone would refuse."""
    from ..config.settings import find_settings
    from ..program.decode import decode, read_words
    from ..running.attribution.labels import labels_of
    from ..running.pc_log import first_word, parse_start
    from ..running.platform import resolve_platform
    from ..running.scout import instructions_before

    start = parse_start(place, "--at")
    if start.count is not None:
        return start.count
    stated = find_settings(request.settings_path, os.environ, origin=request.settings_origin)
    settings = resolve_platform(request, stated).settings
    program = decode(read_words(request.opcode), request.isa, settings)
    labels = labels_of(program, os.path.dirname(request.opcode))
    return instructions_before(program, settings, request.intsram, first_word(start, labels, len(program), "--at"))


def _show(args, simulation, request_count):
    """Lines of everything that was asked for."""
    from ..report.inspection import hbm_bytes, matrix_tile, values_text, vector_rows

    if request_count is not None and simulation.executed < request_count:
        raise EmuError(f"--at count={request_count}: the program ends after {simulation.executed} instructions")
    machine, settings = simulation.machine, simulation.machine.settings
    pc = simulation.pc
    place = f"before pc {pc}: {simulation.program.text(pc)}" if pc < len(simulation.program) else "at the end"
    yield f"after {simulation.executed:,} instructions, {simulation.end_ps / 1e6:,.3f} µs, {place}"
    spans = (("--rows", args.rows, settings.vector_sram_size), ("--tile", args.tile, settings.matrix_tiles),
             ("--hbm", args.hbm, settings.hbm_size))
    for name, span, size in spans:
        if span is not None and span.stop > size:
            raise EmuError(f"{name} {span.start}:{span.stop}: the machine has {size}")
    if args.gp:
        yield values_text("integer registers", machine.control.gp)
    if args.fp:
        yield values_text("fp registers", machine.data.fp)
        yield values_text("fp SRAM", machine.data.fp_sram)
    if args.rows is not None:
        yield from vector_rows(machine, args.rows)
    for tile in args.tile or ():
        yield from matrix_tile(machine, tile)
    if args.hbm is not None:
        yield from hbm_bytes(machine, args.hbm)
