"""A timing file and the settings of a run as the arrays of the scoreboard pass (spec §7.7, §7.9)."""

from typing import NamedTuple

import numpy as np

from ... import isa
from ...boards.timing_formula import SERVICE, FormulaError, evaluate
from ...boards.timing_schema import EXTRAPOLATED, MEASURED, UNSUPPORTED, Timing
from ...config.settings import Settings
from ...errors import EmuError
from ...inputs.number_formats import Fp
from ...kernels.hardware.scoreboard import layout as sl
from ...kernels.limits import NEVER

UNTIL = {"result": sl.UNTIL_RESULT, "completion": sl.UNTIL_COMPLETION, "next": sl.UNTIL_NEXT}
PENDING_CAPACITY = 256


class OpRule(NamedTuple):
    """What reports say of an operation: origin of its cost, and whether it counts as validated."""

    status: str
    supported: bool
    in_domain: bool


class Rules(NamedTuple):
    """The rules of a run.

    Attributes
    ----------
    timing : Timing
    reasons : list of str
        Name of each stall reason, by its number; the first is "".
    by_op : dict of str to OpRule
        Of every operation that has a cost.
    """

    timing: Timing
    reasons: list[str]
    by_op: dict[str, OpRule]


def describe_machine(settings: Settings) -> dict[str, int | str]:
    """Give every figure and format that a timing file can ask for."""
    return {
        "MLEN": settings.mlen, "VLEN": settings.vlen, "BLEN": settings.blen, "HLEN": settings.hlen,
        "BROADCAST": settings.broadcast,
        "weight": str(settings.hbm_m_weight_type.elem),
        "matrix_sram": str(settings.matrix_sram_type.elem),
        "vector_sram": str(settings.vector_sram_type.elem),
        "scalar_fp": str(settings.scalar_fp),
    }  # fmt: skip


def resource_of(op: isa.Op) -> str:
    """Resource that the work of an operation counts for (§7.11)."""
    if op.type == "memory":
        return {"H_PREFETCH_M": "hbm_matrix_dma", "H_PREFETCH_V": "hbm_vector_dma", "H_STORE_V": "hbm_vector_store"}[
            op.mnemonic
        ]
    if op.type == "matrix":
        return "matrix_writeout" if op.mnemonic.endswith("_WO") else "matrix_compute"
    return {"vector": "vector_pipeline", "control": "control_frontend"}.get(op.type, "scalar_pipeline")


def make_rules(timing: Timing, settings: Settings) -> Rules:
    """Settle what a timing file says for a machine.

    Raises
    ------
    EmuError
        The file names an operation that does not exist.
    """
    machine = describe_machine(settings)
    for name, ops in _named_ops(timing):
        for op in ops:
            if op not in isa.BY_MNEMONIC:
                raise EmuError(f"timing {timing.source}: {name}: unknown operation {op!r}")
    weights = "Fp" if isinstance(settings.hbm_m_weight_type.elem, Fp) else "Int"
    by_op = {}
    for op in isa.OPS:
        cost = timing.cost_of(op.mnemonic, weights)
        if cost is not None:
            by_op[op.mnemonic] = _op_rule(timing, cost, machine)
    reasons = list(dict.fromkeys(["", *sl.OPERAND_REASONS, *timing.reasons()]))
    return Rules(timing, reasons, by_op)


def _named_ops(timing):
    yield from ((f"costs[{number}]", cost.ops) for number, cost in enumerate(timing.costs))
    yield from ((f"classes.{name}", some.ops) for name, some in timing.classes.items())


def _op_rule(timing, cost, machine):
    if not cost.supported:
        return OpRule(UNSUPPORTED, False, False)
    status = cost.status or EXTRAPOLATED
    if cost.measured and timing.measurements[cost.measured].holds(machine):
        status = MEASURED
    domain = cost.in_domain
    return OpRule(status, True, timing.measurements[domain].holds(machine) if isinstance(domain, str) else domain)


def new_scoreboard(
    rules: Rules, settings: Settings, period_ps: int, trace_capacity: int = 0, words: int = 0
) -> sl.Scoreboard:
    """Allocate the scoreboard of a run at cycle 0.

    Parameters
    ----------
    rules : Rules
    settings : Settings
    period_ps : int
        Picoseconds of a core cycle.
    trace_capacity : int
        Instructions of a slice whose placement is recorded; 0 records none.
    words : int
        Words of the program, for the counters by word; 0 keeps none.

    Raises
    ------
    EmuError
        A formula gives no number of cycles for this machine.
    """
    units, slots = _units(rules.timing)
    table, waits, holds = _rule_tables(rules, settings)
    reg = np.zeros(sl.SB_WIDTH, dtype=np.int64)
    reg[sl.SB_DEFERRED_FIRST] = NEVER
    reg[sl.SB_LAST_RESOURCE] = sl.CONTROL_FRONTEND
    reg[sl.SB_LAST_PC] = sl.NONE
    longest = int(table[table[:, sl.RULE_WRITES_PORT] == 1, sl.RULE_READY].max(initial=1))
    return sl.Scoreboard(
        reg=reg,
        dims=_dims(rules.timing, settings, period_ps),
        rules=table,
        waits=waits,
        holds=holds,
        units=units,
        slots=slots,
        matrix_pending=np.zeros((PENDING_CAPACITY, sl.PENDING_WIDTH), dtype=np.int64),
        vector_pending=np.zeros((PENDING_CAPACITY, sl.PENDING_WIDTH), dtype=np.int64),
        port=np.full((1 << (longest + 1).bit_length(), 2), sl.NONE),
        deferred=np.zeros((sl.DEFERRED_CAPACITY, 3), dtype=np.int64),
        by_op=np.zeros((isa.NUM_OPS, sl.BY_OP_WIDTH), dtype=np.int64),
        by_resource=np.zeros((len(sl.RESOURCES), sl.BY_RESOURCE_WIDTH), dtype=np.int64),
        by_reason=np.zeros((len(rules.reasons), sl.BY_REASON_WIDTH), dtype=np.int64),
        by_pc=np.zeros((words, sl.PC_REASONS + len(rules.reasons)), dtype=np.int64),
        placed=np.zeros((trace_capacity, sl.PLACED_WIDTH), dtype=np.int64),
    )


def _dims(timing, settings, period_ps):
    dims = np.zeros(sl.DIM_WIDTH, dtype=np.int64)
    dims[sl.DIM_MLEN], dims[sl.DIM_VLEN], dims[sl.DIM_BLEN] = settings.mlen, settings.vlen, settings.blen
    dims[sl.DIM_BROADCAST] = settings.broadcast
    dims[sl.DIM_PM], dims[sl.DIM_PV], dims[sl.DIM_SV] = settings.pm, settings.pv, settings.sv
    dims[sl.DIM_PERIOD] = period_ps
    dims[sl.DIM_RECOVERY] = timing.recovery_cycles
    dims[sl.DIM_MATRIX_SRAM], dims[sl.DIM_VECTOR_SRAM] = timing.tracks.matrix_sram, timing.tracks.vector_sram
    return dims


def _units(timing):
    """Units, and their copies followed by the fp registers."""
    units = np.zeros((max(1, len(timing.units)), sl.UNIT_WIDTH), dtype=np.int64)
    first = 0
    for number, unit in enumerate(timing.units.values()):
        row = units[number]
        row[sl.UNIT_FIRST], row[sl.UNIT_COPIES] = first, unit.copies
        first += unit.copies
    slots = np.zeros((first + sl.FP_SLOTS, sl.SLOT_WIDTH), dtype=np.int64)
    slots[:, sl.SLOT_OWNER] = slots[:, sl.SLOT_LATENCY] = sl.NONE
    return units, slots


def _rule_tables(rules, settings):
    """(rules, waits, holds) of all operations; operations of a class share their rows."""
    timing = rules.timing
    number = {name: k for k, name in enumerate(timing.units)}
    reason = {name: k for k, name in enumerate(rules.reasons)}
    table = np.zeros((isa.NUM_OPS, sl.RULE_WIDTH), dtype=np.int64)
    table[:, sl.RULE_AFTER] = sl.NONE
    waits, holds = [], []
    weights = "Fp" if isinstance(settings.hbm_m_weight_type.elem, Fp) else "Int"
    for op in isa.OPS:
        cost, row = timing.cost_of(op.mnemonic, weights), table[op.id]
        if cost is None:
            continue
        row[sl.RULE_READY : sl.RULE_INTERVAL + 1] = _cycles(timing, op, cost, settings)
        row[sl.RULE_SUPPORTED] = rules.by_op[op.mnemonic].supported
        row[sl.RULE_RESOURCE] = sl.RESOURCES.index(resource_of(op))
        row[sl.RULE_FP_REGISTERS] = timing.tracks.fp_registers and op.type in ("vector", "scalar_fp")
        row[sl.RULE_WAITS], row[sl.RULE_HOLDS] = len(waits), len(holds)
        some = timing.class_of(op.mnemonic)
        if some is not None:
            waits += [[number[w.unit], reason[w.reason], w.condition is not None] for w in some.waits]
            holds += [[number[unit], UNTIL[until]] for unit, until in some.holds.items()]
            row[sl.RULE_STALLS_ON_PORT], row[sl.RULE_WRITES_PORT] = some.stalls_on_port_a, some.writes_port_a
            if some.starts_after is not None:
                row[sl.RULE_AFTER] = number[some.starts_after.unit]
                row[sl.RULE_AFTER_REASON] = reason[some.starts_after.reason]
        row[sl.RULE_WAITS_END], row[sl.RULE_HOLDS_END] = len(waits), len(holds)
        row[sl.RULE_SILENT] = some is None and op.type in ("scalar_int", "control") and row[sl.RULE_READY] > 0
    return table, _table(waits, sl.WAIT_WIDTH), _table(holds, sl.HOLD_WIDTH)


def _table(rows, width):
    return np.array(rows, dtype=np.int64).reshape(-1, width) if rows else np.zeros((1, width), dtype=np.int64)


def _cycles(timing, op, cost, settings):
    """Ready, busy and interval of an operation."""
    if cost.cycles == SERVICE:
        if op.type != "memory":
            raise EmuError(f"timing {timing.source}: {op.mnemonic}: {SERVICE} is the cost of a memory operation only")
        return [sl.SERVICE] * 3
    geometry = {name: value for name, value in describe_machine(settings).items() if isinstance(value, int)}
    try:
        return [evaluate(formula, geometry) for formula in cost.formulas]
    except FormulaError as error:
        raise EmuError(f"timing {timing.source}: {op.mnemonic}: {error}") from None
