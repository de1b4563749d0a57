"""A report of runs: one HTML file with stages, roofline, bandwidth, DRAM statistics and where everything came from.

  plena-emu run BUILD --board custom_a7 --memory-model auto --timing-only --timeline t.json.gz --json r.json
  plena-emu report r.json -o r.html --capacity-curve

The file needs no network and has no scripts. --capacity-curve adds latency over DDR capacity from a dozen quick runs of
each program without data. Needs matplotlib, the extra `report`.
"""

import sys

import msgspec

from ..atomic_files import check_directory, check_outputs, write_whole
from ..errors import EmuError
from . import flags


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("records", metavar="RUN.json", nargs="+", type=flags.path,
                        help="record of plena-emu run --json")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, type=flags.output, action=flags.Once,
                        help="the HTML file (- is standard output)")
    parser.add_argument("--capacity-curve", action="store_true", help="run each program with other DDR capacities")


def run(args):
    """Write the report; 0."""
    if args.output is not None:
        check_directory(args.output, "-o")
    from ..report.figures import check_matplotlib
    from ..report.html import report_html
    from ..result.reading import read_run

    check_matplotlib("report")
    results = [read_run(path) for path in args.records]
    check_output(args.output, args.records, results)
    curves = [curve_of(result) if args.capacity_curve else None for result in results]
    page = report_html(results, curves).encode("utf-8", "surrogateescape")
    if args.output is None:
        sys.stdout.buffer.write(page)
    else:
        write_whole(args.output, page, "report")
    return 0


def check_output(output, records, results):
    """Refuse an output that is a record, or a file of a run that a record is of: hashes and curves read those."""
    from ..config.build_dir import build_of, files_of_build

    inputs = [("RUN.json", path) for path in records]
    for result in results:
        sources = msgspec.structs.asdict(result.sources)
        del sources["sha256"], sources["settings_origin"]
        inputs += [("the record as program", result.program.path),
                   *((f"the record as {name}", path) for name, path in sources.items())]
        build = build_of(result.program.path)
        inputs += files_of_build(build) if build is not None else []
    check_outputs([("-o", output)], inputs)


def curve_of(result):
    """Capacity curve of a record: its program is run again, as the record says, with other capacities."""
    import os

    from ..config.build_dir import ADDRESSES, fields_of
    from ..precompile import kernels_of, make_ready
    from ..request import RunRequest
    from ..running.capacity_curve import capacity_curve

    sources = result.sources
    fields = {
        "opcode": result.program.path, "settings_path": sources.settings, "hbm_size": result.geometry.hbm_size,
        "isa": result.isa, "board": sources.board, "dram": sources.dram, "intsram": sources.intsram,
        "latency_profile": result.board and result.board.latency_profile, "memory_model": "auto",
        "weight_manifest": sources.weight_manifest,
        "host_bandwidth": result.limits and result.limits.host_bandwidth_bytes_per_s,
    } | _hardware_fields(result) | _board_fields(result)
    if not os.path.isfile(fields["settings_path"]):
        del fields["settings_path"]  # built-in defaults
    if fields["weight_manifest"] is not None and fields["weight_manifest"].endswith("hbm_addrs.json"):
        del fields["weight_manifest"]
    folder = os.path.dirname(result.program.path) or "."
    given = {name: value for name, value in fields.items() if value is not None} | {"from_flags": True}
    if "weight_manifest" not in given:
        there = [name for name in ("weight_manifest.json", ADDRESSES) if os.path.lexists(os.path.join(folder, name))]
        if not there or ("board" not in given and there == [ADDRESSES]):
            raise EmuError(f"capacity curve: {result.program.path}: found no weight manifest in the record or beside"
                           " the program, expected a record of plena-emu run --weight-manifest FILE, or one of --board"
                           f" with {ADDRESSES} beside the program")
        given = fields_of(folder, given | {"timing_only": True})
    request = RunRequest(**(given | {"timing_only": True, "dump_dir": None}))
    make_ready(kernels_of(request))
    return capacity_curve(request)


def _hardware_fields(result):
    """Fields of a request for the hardware timing of a record; other parts than hbm2 have channels of their own."""
    hardware = result.hardware
    if hardware is None:
        return {}
    part = (result.dram_statistics or {}).get("dram")
    is_hbm2 = part is not None and part.split(" with ")[0] == "hbm2"  # as in "hbm2 with 16 channels"
    channels = hardware.hbm_channels if hardware.dma == "production" and is_hbm2 else None
    return {"dma": hardware.dma, "timing": hardware.timing_file or "serial", "hbm_channels": channels}


def _board_fields(result):
    """Fields of a request for what was laid over the board of a record."""
    if result.board is None:
        return {}
    laid_over = {one.flag.removeprefix("--").replace("-", "_"): one.after for one in result.board.laid_over}
    clock = laid_over.get("clock_mhz")
    return {"clock_mhz": clock and float(clock), "ddr_speed": laid_over.get("ddr_speed"),
            "reference_timing": result.time_basis == "reference"}
