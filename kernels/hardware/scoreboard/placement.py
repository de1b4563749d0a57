"""Placing one instruction (spec §7.9): operands, the SRAM's port, units, fp registers; then what it holds."""

from plena_emu import isa

from ...compiler.jit import small
from ...layout import TR_PC
from .accounting import cover, cover_deferred, defer
from .layout import (
    CONTROL_FRONTEND,
    DIM_RECOVERY,
    FP_READ,
    FP_SLOTS,
    FP_WRITE,
    HOLD_UNIT,
    HOLD_UNTIL,
    NO_REASON,
    NONE,
    OP_COUNT,
    OP_MOST,
    OP_WORK,
    OWNER_BITS,
    PC_BACKEND,
    PC_REASONS,
    PC_RECOVERY,
    PC_SERVICE,
    PLACED_ACCEPTED,
    PLACED_COMPLETION,
    PLACED_ISSUE,
    PLACED_OWNER,
    PLACED_REASON,
    PLACED_RECOVERY,
    PLACED_RESULT,
    PLACED_START,
    PORT_WRITE,
    REASON_BACKEND,
    REASON_STALL,
    RES_CRITICAL,
    RESOURCE_MASK,
    RULE_AFTER,
    RULE_AFTER_REASON,
    RULE_BUSY,
    RULE_FP_REGISTERS,
    RULE_HOLDS,
    RULE_HOLDS_END,
    RULE_INTERVAL,
    RULE_READY,
    RULE_RESOURCE,
    RULE_STALLS_ON_PORT,
    RULE_SUPPORTED,
    RULE_WAITS,
    RULE_WAITS_END,
    RULE_WRITES_PORT,
    SB_DEFERRED_FIRST,
    SB_LAST_PC,
    SB_LAST_RESOURCE,
    SB_MAKESPAN,
    SB_NEXT_ISSUE,
    SB_OWNER,
    SB_READY_AT,
    SB_REASON,
    SB_RECOVERY,
    SB_SEQUENCE,
    SB_SUPPORTED_END,
    SERVICE,
    SLOT_LATENCY,
    SLOT_OWNER,
    SLOT_UNTIL,
    UNIT_COPIES,
    UNIT_FIRST,
    UNTIL_COMPLETION,
    UNTIL_RESULT,
    WAIT_OTHER_LATENCY,
    WAIT_REASON,
    WAIT_UNIT,
)
from .ranges import add_writes, wait_for_operands, wait_until


@small
def choose_copy(units, slots, unit):
    """Choose the copy of a unit that is free first (the first of equals): its slot."""
    chosen = units[unit, UNIT_FIRST]
    for slot in range(chosen + 1, units[unit, UNIT_FIRST] + units[unit, UNIT_COPIES]):
        if slots[slot, SLOT_UNTIL] < slots[chosen, SLOT_UNTIL]:
            chosen = slot
    return chosen


@small
def wait_for_port(sb):
    """Step 3: go past the cycles in which a result is written through port A."""
    reg, port = sb.reg, sb.port
    mask = len(port) - 1
    at = reg[SB_READY_AT]
    while port[at & mask, 0] == at:
        reg[SB_OWNER] = port[at & mask, 1]
        reg[SB_REASON] = PORT_WRITE
        at += 1
    reg[SB_READY_AT] = at


@small
def wait_for_units(sb, rule, ready):
    """Step 4, units."""
    slots = sb.slots
    for at in range(rule[RULE_WAITS], rule[RULE_WAITS_END]):
        slot = choose_copy(sb.units, slots, sb.waits[at, WAIT_UNIT])
        latency = slots[slot, SLOT_LATENCY]
        if sb.waits[at, WAIT_OTHER_LATENCY] == 0 or (latency != NONE and latency != ready):
            wait_until(sb.reg, slots[slot, SLOT_UNTIL], slots[slot, SLOT_OWNER], sb.waits[at, WAIT_REASON])


@small
def fp_operands(op, rd, rs1, rs2):
    """(first read, second read, write) of fp registers, 0 for none (fp0 is never tracked, §7.8)."""
    if op == isa.V_RED_SUM or op == isa.V_RED_MAX:
        return rd, 0, rd
    if isa.S_ADD_FP <= op <= isa.S_MUL_FP:
        return rs1, rs2, rd
    if isa.S_EXP_FP <= op <= isa.S_SQRT_FP:
        return rs1, 0, rd
    if op == isa.S_LD_FP:
        return 0, 0, rd
    if op == isa.S_ST_FP:
        return rd, 0, 0
    if (
        op == isa.V_ADD_VF or op == isa.V_SUB_VF or op == isa.V_MUL_VF or op == isa.V_MAX_VF or op == isa.V_MIN_VF
    ):
        return rs2, 0, 0
    return 0, 0, 0


@small
def wait_for_register(sb, register, reason):
    """Wait for an fp register."""
    if register > 0:
        slot = len(sb.slots) - FP_SLOTS + register
        wait_until(sb.reg, sb.slots[slot, SLOT_UNTIL], sb.slots[slot, SLOT_OWNER], reason)


@small
def hold(slots, slot, until, owner, latency):
    """Hold a slot."""
    slots[slot, SLOT_UNTIL] = until
    slots[slot, SLOT_OWNER] = owner
    slots[slot, SLOT_LATENCY] = latency


@small
def hold_units(sb, rule, owner, start, ready, busy, interval):
    """Step 7, units and the port."""
    for at in range(rule[RULE_HOLDS], rule[RULE_HOLDS_END]):
        slot = choose_copy(sb.units, sb.slots, sb.holds[at, HOLD_UNIT])
        until = sb.holds[at, HOLD_UNTIL]
        end = start + (ready if until == UNTIL_RESULT else busy if until == UNTIL_COMPLETION else interval)
        hold(sb.slots, slot, end, owner, ready)
    if rule[RULE_WRITES_PORT] == 1:
        at = (start + ready) & (len(sb.port) - 1)
        sb.port[at, 0] = start + ready
        sb.port[at, 1] = owner


@small
def count(sb, pc, op, rule, start, completion, cycles):
    """Count the instruction of word `pc` that was placed; `cycles` is its work."""
    reg = sb.reg
    for_op = sb.by_op[op]
    for_op[OP_COUNT] += 1
    for_op[OP_WORK] += cycles
    for_op[OP_MOST] = max(for_op[OP_MOST], cycles)
    if completion >= reg[SB_MAKESPAN]:
        reg[SB_MAKESPAN] = completion
        reg[SB_LAST_RESOURCE] = rule[RULE_RESOURCE]
        reg[SB_LAST_PC] = pc
    if rule[RULE_SUPPORTED] == 1:
        reg[SB_SUPPORTED_END] = max(reg[SB_SUPPORTED_END], completion)
    if reg[SB_DEFERRED_FIRST] <= start:
        cover_deferred(sb, start)


@small
def write_placed(sb, at, issue, accepted, recovery, start, result, completion, reason, owner):
    """Write a row of `placed`."""
    row = sb.placed[at]
    row[PLACED_ISSUE] = issue
    row[PLACED_ACCEPTED] = accepted
    row[PLACED_RECOVERY] = recovery
    row[PLACED_START] = start
    row[PLACED_RESULT] = result
    row[PLACED_COMPLETION] = completion
    row[PLACED_REASON] = reason
    row[PLACED_OWNER] = owner


@small
def place_silent(sb, pc, op, at):
    """Place the instruction of word `pc`, which waits for nothing and holds nothing."""
    reg, rule = sb.reg, sb.rules[op]
    issue = reg[SB_NEXT_ISSUE]
    completion = issue + rule[RULE_BUSY]
    reg[SB_NEXT_ISSUE] = issue + 1
    reg[SB_SEQUENCE] += 1
    count(sb, pc, op, rule, issue, completion, rule[RULE_BUSY])
    cover(sb, rule[RULE_RESOURCE], issue, completion)
    if len(sb.placed) > 0:
        write_placed(sb, at, issue, issue, 0, issue, issue + rule[RULE_READY], completion, NO_REASON, NONE)


@small
def place(sb, op, rd, rs1, rs2, imm, gp, tracked, service, at):
    """Place an instruction: steps 1 to 8 of §7.9.

    Parameters
    ----------
    gp : int64[TR_WIDTH]
        Its row of executed instructions: its word, and the registers before it, which are read only if `tracked`.
    service : int
        Cycles of a DMA.
    at : int
        Row of `placed`.
    """
    reg, rule = sb.reg, sb.rules[op]
    ready, busy, interval = rule[RULE_READY], rule[RULE_BUSY], rule[RULE_INTERVAL]
    if ready == SERVICE:
        ready = busy = interval = service
    issue = reg[SB_NEXT_ISSUE]
    reg[SB_READY_AT] = issue
    reg[SB_REASON] = NO_REASON
    reg[SB_OWNER] = NONE
    if tracked:
        wait_for_operands(sb, op, rs1, imm, gp)
    if rule[RULE_STALLS_ON_PORT] == 1:
        wait_for_port(sb)
    wait_for_units(sb, rule, ready)
    first = second = written = 0
    if rule[RULE_FP_REGISTERS] == 1:
        first, second, written = fp_operands(op, rd, rs1, rs2)
        wait_for_register(sb, first, FP_READ)
        wait_for_register(sb, second, FP_READ)
        wait_for_register(sb, written, FP_WRITE)
    stall = reg[SB_READY_AT] - issue
    recovery = sb.dims[DIM_RECOVERY] if stall > 0 else 0
    accepted = start = issue + stall + recovery
    if rule[RULE_AFTER] != NONE:
        slot = choose_copy(sb.units, sb.slots, rule[RULE_AFTER])
        if sb.slots[slot, SLOT_UNTIL] > start:
            start = sb.slots[slot, SLOT_UNTIL]
            reg[SB_OWNER] = sb.slots[slot, SLOT_OWNER]
            reg[SB_REASON] = rule[RULE_AFTER_REASON]
    owner = reg[SB_SEQUENCE] << OWNER_BITS | rule[RULE_RESOURCE]
    hold_units(sb, rule, owner, start, ready, busy, interval)
    if tracked:
        add_writes(sb, op, rs1, imm, gp, start + ready, owner)
    if written > 0:
        hold(sb.slots, len(sb.slots) - FP_SLOTS + written, start + ready, owner, ready)
    reg[SB_NEXT_ISSUE] = accepted + 1
    reg[SB_SEQUENCE] += 1
    account(sb, gp[TR_PC], op, rule, issue, accepted, recovery, start, busy)
    if len(sb.by_pc) > 0 and (start > issue or service > 0):
        charge(sb, gp[TR_PC], issue, accepted, recovery, start, service)
    if len(sb.placed) > 0:
        write_placed(
            sb, at, issue, accepted, recovery, start, start + ready, start + busy, reg[SB_REASON], reg[SB_OWNER]
        )


@small
def account(sb, pc, op, rule, issue, accepted, recovery, start, busy):
    """Count the instruction in hand: its waits, its share of the critical path, its interval."""
    reg = sb.reg
    reason = sb.by_reason[reg[SB_REASON]]
    reason[REASON_STALL] += accepted - issue - recovery
    reason[REASON_BACKEND] += start - accepted
    reg[SB_RECOVERY] += recovery
    if accepted > issue:
        waited_for = CONTROL_FRONTEND if reg[SB_OWNER] == NONE else reg[SB_OWNER] & RESOURCE_MASK
        sb.by_resource[waited_for, RES_CRITICAL] += accepted - issue
    count(sb, pc, op, rule, accepted, start + busy, busy)
    if start > accepted:
        defer(sb, rule[RULE_RESOURCE], start, start + busy)
    else:
        cover(sb, rule[RULE_RESOURCE], start, start + busy)


@small
def charge(sb, pc, issue, accepted, recovery, start, service):
    """Charge word `pc` for the waits of the instruction in hand, and for the cycles of a DMA."""
    row = sb.by_pc[pc]
    row[PC_SERVICE] += service
    row[PC_RECOVERY] += recovery
    row[PC_BACKEND] += start - accepted
    row[PC_REASONS + sb.reg[SB_REASON]] += accepted - issue - recovery
