"""The files a run reads and the dumps it writes. Light: command lines ask before anything heavy is imported."""

import os
from collections.abc import Mapping
from typing import Any

from ..atomic_files import check_outputs
from ..config.build_dir import READ_BESIDE, TABLES, build_of
from ..config.settings_search import find_settings_file
from ..inputs.words import flag_of

HBM_DUMP = "hbm_dump.bin"  # at the level debug, with the model hbm (§5.4)
RESULTS_DUMP = "hbm_results.bin"  # of a compiled model (§9.2)
_INPUTS = ("opcode", "hbm", "fpsram", "intsram", "vram", "weight_manifest", "board", "latency_profile", "dram",
           "timing", "stage_profile_asm")
_OUTPUTS = ("timeline", "pc_log", "memory_trace", "event_table", "event_trace", "dma_event_trace",
            "rtl_validation_output", "profile_output")


def sram_dumps(revision: str) -> tuple[str, ...]:
    """List the dumps that every run with data writes.

    Returns
    -------
    tuple of str
    """
    dumps = ("mram_dump.bin", "vram_dump.bin", "fpsram_dump.bin")
    return (*dumps, "intsram_dump.bin") if revision == "moe" else dumps


def check_files_of_run(fields: Mapping[str, Any], **outputs: str | None) -> None:
    """Refuse outputs of a run that are its inputs, or each other, before any of them is opened.

    Parameters
    ----------
    fields : mapping
        Fields of a `RunRequest`.
    outputs : str or None
        Paths of outputs that are no fields of it, by the flag without its dashes.

    Raises
    ------
    UsageError
    """
    called = flag_of if fields.get("from_flags") else str
    inputs = [*((called(name), fields.get(name)) for name in _INPUTS), ("results.json", fields.get("results"))]
    settings = find_settings_file(fields.get("settings_path"), os.environ, origin=fields.get("settings_origin", ""))
    if settings is not None:
        inputs.append((settings[1] or called("settings_path"), settings[0]))
    if fields.get("tables_dir") is not None:
        inputs += [(name, os.path.join(fields["tables_dir"], name)) for name in TABLES]
    build = build_of(os.fspath(fields["opcode"])) if fields.get("opcode") else None
    if build is not None:  # stages and names of regions
        inputs += [(name, os.path.join(build, name)) for name in READ_BESIDE]
    written = [(flag_of(name), path) for name, path in outputs.items()]
    written += [(called(name), fields.get(name)) for name in _OUTPUTS]
    if fields.get("stage_profile_asm") is not None:
        written.append((called("stage_profile_out"), fields.get("stage_profile_out")))
    if fields.get("dump_dir") is not None and not fields.get("timing_only"):
        names = [*sram_dumps(fields["isa"]), *([HBM_DUMP] if fields.get("dump_hbm") else []),
                 *([RESULTS_DUMP] if fields.get("results") else [])]
        written += [("dump", os.path.join(fields["dump_dir"], name)) for name in names]
    check_outputs(written, inputs)
