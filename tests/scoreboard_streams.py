"""Short instruction streams on the scoreboard kernel and on the oracle, without a machine around them."""

import dataclasses

import msgspec
import numpy as np
from oracle.hardware import scoreboard as oracle

from plena_emu import isa
from plena_emu.boards.timing_schema import load_timing
from plena_emu.config.settings import default_settings
from plena_emu.inputs.number_formats import Fp, Int, Mx, Plain
from plena_emu.kernels import layout
from plena_emu.kernels.hardware.scoreboard import layout as sl
from plena_emu.kernels.hardware.scoreboard.timeline import scoreboard_end, scoreboard_slice
from plena_emu.running.timeline.rules import make_rules, new_scoreboard

PERIOD = 1000
SCALE = Fp(False, 8, 0)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """An executed instruction: fields, the registers before it by field, and the time of a DMA in ps."""

    op: str
    rd: int = 0
    rs1: int = 0
    rs2: int = 0
    imm: int = 0
    gp: dict = dataclasses.field(default_factory=dict)
    took: int = 0

    def register(self, field: str) -> int:
        return self.gp.get(field, 0)


def settings(mlen=64, blen=4, hlen=16, broadcast=4, pm=64, pv=4, sv=4, weight=None):
    """Settings of a machine with VLEN = MLEN; weights are e4m3 unless told."""
    return msgspec.structs.replace(
        default_settings(), mlen=mlen, vlen=mlen, blen=blen, hlen=hlen, broadcast=broadcast, hbm_m_prefetch_amount=pm,
        hbm_v_prefetch_amount=pv, hbm_v_writeback_amount=sv, hbm_m_weight_type=Mx(weight or Fp(True, 4, 3), SCALE, 8),
    )


def scoreboard(some_settings, timing="rtl-v1", capacity=0):
    """(rules, state) of an unused scoreboard."""
    rules = make_rules(load_timing(timing) if isinstance(timing, str) else timing, some_settings)
    return rules, new_scoreboard(rules, some_settings, PERIOD, capacity)


def place(instructions, some_settings=None, timing="rtl-v1", pending=None):
    """Run the kernel: (rules, state, rows of `placed`). `pending` shrinks the lists of pending writes."""
    some_settings = some_settings or settings()
    rules, state = scoreboard(some_settings, timing, max(1, len(instructions)))
    if pending is not None:
        state = state._replace(matrix_pending=state.matrix_pending[:pending].copy(),
                               vector_pending=state.vector_pending[:pending].copy())
    tracked = sl.tracked_ops()
    table = np.zeros((max(1, len(instructions)), layout.OP_WIDTH), dtype=np.int64)
    executed, events = [], []
    for row, i in zip(table, instructions, strict=False):  # at least one row
        op = isa.BY_MNEMONIC[i.op]
        row[layout.OP_ID], row[layout.OP_RD], row[layout.OP_RS1], row[layout.OP_RS2] = op.id, i.rd, i.rs1, i.rs2
        row[layout.OP_IMM] = i.imm
        registers = [i.register(name) if tracked[op.id] else -1 for name in ("rd", "rs1", "rs2")]
        executed.append([len(executed), *registers])
        if op.type == "memory":
            events.append([0] * layout.MEV_WIDTH)
            events[-1][layout.MEV_TOOK] = i.took
    executed = np.array(executed or [[0] * layout.TR_WIDTH], dtype=np.int64)
    events = np.array(events or [[0] * layout.MEV_WIDTH], dtype=np.int64)
    while True:
        status = scoreboard_slice(table, executed, len(instructions), tracked, events, state)
        if status != sl.PENDING_FULL:
            break
        grown = [np.concatenate((rows, np.zeros_like(rows))) for rows in
                 (state.matrix_pending, state.vector_pending)]
        state = state._replace(matrix_pending=grown[0], vector_pending=grown[1])
    scoreboard_end(state)
    assert status == sl.PLACED_ALL
    return rules, state, state.placed[: len(instructions)]


def events_of(instructions, some_settings=None, timing="rtl-v1", pending=None):
    """(issue, accepted, recovery, start, ready, completion, reason, dependency) of every instruction."""
    rules, _, placed = place(instructions, some_settings, timing, pending)
    return [(*row[:6], rules.reasons[row[6]], None if row[7] == sl.NONE else row[7] >> sl.OWNER_BITS)
            for row in placed.tolist()]


def oracle_machine(s) -> oracle.Machine:
    """The oracle's geometry of some settings."""
    def kind(data_type):
        return None if isinstance(data_type, Int) else (data_type.exponent, data_type.mantissa)

    def element(storage):
        return kind(storage.data_type if isinstance(storage, Plain) else storage.elem)

    return oracle.Machine(s.mlen, s.vlen, s.blen, s.broadcast, s.pm, s.pv, s.sv, element(s.hbm_m_weight_type),
                          element(s.matrix_sram_type), element(s.vector_sram_type), kind(s.scalar_fp))


def oracle_timeline(instructions, some_settings=None) -> oracle.Timeline:
    """The same instructions on the oracle."""
    timeline = oracle.Timeline(oracle_machine(some_settings or settings()))
    for pc, i in enumerate(instructions):
        fields = {"rd": i.rd, "rs1": i.rs1, "rs2": i.rs2, "imm18": i.imm}
        gp = _registers(fields, i)
        service = max(1, -(-i.took // PERIOD)) if i.op.startswith("H_") else 0
        timeline.place(pc, i.op, fields, gp, service)
    return timeline


def _registers(fields, instruction):
    """Registers by number; fields with the same number must agree."""
    found = {}
    for field in ("rd", "rs1", "rs2"):
        value = instruction.register(field)
        assert found.setdefault(fields[field], value) == value, f"two values of register {fields[field]}"
    return found
