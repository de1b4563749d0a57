"""A timing file and the settings of a run as the arrays of the scoreboard pass (spec §7.7, §7.9)."""

from typing import NamedTuple

import numpy as np

from ... import isa
from ...boards.timing_formula import SERVICE, FormulaError, evaluate
from ...boards.timing_schema import EXTRAPOLATED, MEASURED, UNSUPPORTED, Timing
from ...config.settings import Settings
from ...errors import EmuError
from ...inputs.number_formats import Fp
from ...kernels.hardware.scoreboard import layout as at
from ...kernels.limits import NEVER

UNTIL = {"result": at.UNTIL_RESULT, "completion": at.UNTIL_COMPLETION, "next": at.UNTIL_NEXT}
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
    reasons = list(dict.fromkeys(["", *at.OPERAND_REASONS, *timing.reasons()]))
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


def new_scoreboard(rules: Rules, settings: Settings, period_ps: int, trace_capacity: int = 0) -> at.Scoreboard:
    """Allocate the scoreboard of a run at cycle 0.

    Parameters
    ----------
    rules : Rules
    settings : Settings
    period_ps : int
        Picoseconds of a core cycle.
    trace_capacity : int
        Instructions of a slice whose placement is recorded; 0 records none.

    Raises
    ------
    EmuError
        A formula gives no number of cycles for this machine.
    """
    units, slots = _units(rules.timing)
    table, waits, holds = _rule_tables(rules, settings)
    reg = np.zeros(at.SB_WIDTH, dtype=np.int64)
    reg[at.SB_DEFERRED_FIRST] = NEVER
    reg[at.SB_LAST_RESOURCE] = at.CONTROL_FRONTEND
    longest = int(table[table[:, at.RULE_WRITES_PORT] == 1, at.RULE_READY].max(initial=1))
    return at.Scoreboard(
        reg=reg,
        dims=_dims(rules.timing, settings, period_ps),
        rules=table,
        waits=waits,
        holds=holds,
        units=units,
        slots=slots,
        matrix_pending=np.zeros((PENDING_CAPACITY, at.PENDING_WIDTH), dtype=np.int64),
        vector_pending=np.zeros((PENDING_CAPACITY, at.PENDING_WIDTH), dtype=np.int64),
        port=np.full((1 << (longest + 1).bit_length(), 2), at.NONE),
        deferred=np.zeros((at.DEFERRED_CAPACITY, 3), dtype=np.int64),
        by_op=np.zeros((isa.NUM_OPS, at.BY_OP_WIDTH), dtype=np.int64),
        by_resource=np.zeros((len(at.RESOURCES), at.BY_RESOURCE_WIDTH), dtype=np.int64),
        by_reason=np.zeros((len(rules.reasons), at.BY_REASON_WIDTH), dtype=np.int64),
        placed=np.zeros((trace_capacity, at.PLACED_WIDTH), dtype=np.int64),
    )


def _dims(timing, settings, period_ps):
    dims = np.zeros(at.DIM_WIDTH, dtype=np.int64)
    dims[at.DIM_MLEN], dims[at.DIM_VLEN], dims[at.DIM_BLEN] = settings.mlen, settings.vlen, settings.blen
    dims[at.DIM_BROADCAST] = settings.broadcast
    dims[at.DIM_PM], dims[at.DIM_PV], dims[at.DIM_SV] = settings.pm, settings.pv, settings.sv
    dims[at.DIM_PERIOD] = period_ps
    dims[at.DIM_RECOVERY] = timing.recovery_cycles
    dims[at.DIM_MATRIX_SRAM], dims[at.DIM_VECTOR_SRAM] = timing.tracks.matrix_sram, timing.tracks.vector_sram
    return dims


def _units(timing):
    """Units, and their copies followed by the fp registers."""
    units = np.zeros((max(1, len(timing.units)), at.UNIT_WIDTH), dtype=np.int64)
    first = 0
    for number, unit in enumerate(timing.units.values()):
        row = units[number]
        row[at.UNIT_FIRST], row[at.UNIT_COPIES] = first, unit.copies
        first += unit.copies
    slots = np.zeros((first + at.FP_SLOTS, at.SLOT_WIDTH), dtype=np.int64)
    slots[:, at.SLOT_OWNER] = slots[:, at.SLOT_LATENCY] = at.NONE
    return units, slots


def _rule_tables(rules, settings):
    """(rules, waits, holds) of all operations; operations of a class share their rows."""
    timing = rules.timing
    number = {name: k for k, name in enumerate(timing.units)}
    reason = {name: k for k, name in enumerate(rules.reasons)}
    table = np.zeros((isa.NUM_OPS, at.RULE_WIDTH), dtype=np.int64)
    table[:, at.RULE_AFTER] = at.NONE
    waits, holds = [], []
    weights = "Fp" if isinstance(settings.hbm_m_weight_type.elem, Fp) else "Int"
    for op in isa.OPS:
        cost, row = timing.cost_of(op.mnemonic, weights), table[op.id]
        if cost is None:
            continue
        row[at.RULE_READY : at.RULE_INTERVAL + 1] = _cycles(timing, op, cost, settings)
        row[at.RULE_SUPPORTED] = rules.by_op[op.mnemonic].supported
        row[at.RULE_RESOURCE] = at.RESOURCES.index(resource_of(op))
        row[at.RULE_FP_REGISTERS] = timing.tracks.fp_registers and op.type in ("vector", "scalar_fp")
        row[at.RULE_WAITS], row[at.RULE_HOLDS] = len(waits), len(holds)
        some = timing.class_of(op.mnemonic)
        if some is not None:
            waits += [[number[w.unit], reason[w.reason], w.condition is not None] for w in some.waits]
            holds += [[number[unit], UNTIL[until]] for unit, until in some.holds.items()]
            row[at.RULE_STALLS_ON_PORT], row[at.RULE_WRITES_PORT] = some.stalls_on_port_a, some.writes_port_a
            if some.starts_after is not None:
                row[at.RULE_AFTER] = number[some.starts_after.unit]
                row[at.RULE_AFTER_REASON] = reason[some.starts_after.reason]
        row[at.RULE_WAITS_END], row[at.RULE_HOLDS_END] = len(waits), len(holds)
        row[at.RULE_SILENT] = some is None and op.type in ("scalar_int", "control") and row[at.RULE_READY] > 0
    return table, _table(waits, at.WAIT_WIDTH), _table(holds, at.HOLD_WIDTH)


def _table(rows, width):
    return np.array(rows, dtype=np.int64).reshape(-1, width) if rows else np.zeros((1, width), dtype=np.int64)


def _cycles(timing, op, cost, settings):
    """Ready, busy and interval of an operation."""
    if cost.cycles == SERVICE:
        if op.type != "memory":
            raise EmuError(f"timing {timing.source}: {op.mnemonic}: {SERVICE} is the cost of a memory operation only")
        return [at.SERVICE] * 3
    geometry = {name: value for name, value in describe_machine(settings).items() if isinstance(value, int)}
    try:
        return [evaluate(formula, geometry) for formula in cost.formulas]
    except FormulaError as error:
        raise EmuError(f"timing {timing.source}: {op.mnemonic}: {error}") from None
