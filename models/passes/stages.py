"""Stages: which words of the program belong to which operator (spec §9.6)."""

from __future__ import annotations

import msgspec

from plena_emu.assembler import disassemble
from plena_emu.models.builder import Program


def stages_json(program: Program) -> bytes:
    """Write `stages.json`.

    Returns
    -------
    bytes
        One entry a run of words, in order; together they cover every word.
    """
    entries = [{"layer": stage.layer, "operator": stage.operator, "first_pc": stage.first_pc, "last_pc": stage.last_pc}
               for stage in program.stages]
    return b'{"stages": [\n' + b",\n".join(msgspec.json.encode(entry) for entry in entries) + b"\n]}\n"


def assembly_text(program: Program) -> str:
    """Write the program as assembly text, each stage headed by a comment.

    Returns
    -------
    str
    """
    lines = disassemble(program.words)
    text = []
    for stage in program.stages:
        where = "" if stage.layer is None else f"layer {stage.layer} "
        text.append(f"; {where}{stage.operator}")
        text += lines[stage.first_pc : stage.last_pc + 1]
    return "\n".join(text) + "\n"
