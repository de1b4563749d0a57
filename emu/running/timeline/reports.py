"""Validation and timeline of the placed instructions (spec §7.11), from the counters of the scoreboard pass.

Objects are plain dictionaries in the order of §7.11; `json_text` prints them as that chapter fixes it.
"""

from ... import isa
from ...kernels.hardware.scoreboard import layout as sl
from .rules import Rules, resource_of

MEMORY = sl.RESOURCES[: sl.MATRIX_COMPUTE]


def percent_of(part: int, whole: int) -> float:
    """Percentage; 0 of nothing."""
    return part * 100 / whole if whole else 0.0


def _executed(sb: sl.Scoreboard):
    """(operation, instructions, cycles of work) of everything that was executed, by mnemonic."""
    found = [(op, *(int(v) for v in sb.by_op[op.id, : sl.OP_MOST])) for op in isa.OPS if sb.by_op[op.id, sl.OP_COUNT]]
    return sorted(found, key=lambda row: row[0].mnemonic)


def _summed(pairs) -> dict[str, int]:
    """Sums by key, keys in alphabetical order."""
    total: dict[str, int] = {}
    for key, value in pairs:
        total[key] = total.get(key, 0) + value
    return dict(sorted(total.items()))


def _nonzero(values: dict[str, int]) -> dict[str, int]:
    return {key: value for key, value in values.items() if value}


def validation_report(sb: sl.Scoreboard, rules: Rules) -> dict:
    """Build the validation object: what was measured on the RTL, what lies outside, what it does not support."""
    rows = [(op, count, work, rules.by_op[op.mnemonic]) for op, count, work in _executed(sb)]
    unsupported = [row for row in rows if not row[3].supported]
    outside = [row for row in rows if row[3].supported and not row[3].in_domain]
    total = sum(row[1] for row in rows)
    return _validation(total, unsupported, outside, int(sb.reg[sl.SB_MAKESPAN] - sb.reg[sl.SB_SUPPORTED_END]))


def _validation(total, unsupported, outside, sensitivity):
    counts = [sum(row[1] for row in some) for some in (unsupported, outside)]
    return {
        "status": "unsupported_opcodes" if counts[0] else "out_of_calibration_domain" if counts[1] else "validated",
        "total_opcodes": total,
        "validated_opcodes": total - sum(counts),
        "unsupported_opcodes": counts[0],
        "out_of_domain_opcodes": counts[1],
        "unsupported_opcode_counts": {op.mnemonic: count for op, count, *_ in unsupported},
        "out_of_domain_opcode_counts": {op.mnemonic: count for op, count, *_ in outside},
        "unsupported_resource_cycles": _summed((resource_of(op), work) for op, _, work, *_ in unsupported),
        "out_of_domain_resource_cycles": _summed((resource_of(op), work) for op, _, work, *_ in outside),
        "unsupported_makespan_sensitivity_cycles": sensitivity,
    }


def serial_validation(executed: dict[str, tuple[int, int]]) -> dict:
    """Build the validation object of the serial mode, where every instruction is outside the domain.

    `executed` is mnemonic to (instructions, cycles of all events).
    """
    rows = [(isa.BY_MNEMONIC[name], *executed[name]) for name in sorted(executed)]
    return _validation(sum(row[1] for row in rows), [], rows, 0)


def timeline_report(sb: sl.Scoreboard, rules: Rules) -> dict:
    """Build the timeline object."""
    reg, period = sb.reg, int(sb.dims[sl.DIM_PERIOD])
    makespan, count = int(reg[sl.SB_MAKESPAN]), int(reg[sl.SB_SEQUENCE])
    rows = _executed(sb)
    work = _summed((resource_of(op), cycles) for op, _, cycles in rows)
    covered = {name: int(sb.by_resource[k, sl.RES_COVERED]) for k, name in enumerate(sl.RESOURCES)}
    reasons = {name: [int(v) for v in sb.by_reason[k]] for k, name in enumerate(rules.reasons)}
    stalls = {name: value[sl.REASON_STALL] for name, value in reasons.items()}
    stalls["pipeline_recovery"] = int(reg[sl.SB_RECOVERY])
    overlap = int(reg[sl.SB_OVERLAP])
    return {
        "total_makespan_cycles": makespan,
        "total_makespan_picos": makespan * period,
        "total_makespan_ns": makespan * period / 1000,
        "frontend_issue_cycles": count,
        "stall_cycles_by_reason": _nonzero(dict(sorted(stalls.items()))),
        "backend_wait_cycles_by_reason": _nonzero(
            {name: reasons[name][sl.REASON_BACKEND] for name in sorted(reasons)}
        ),
        "timing_calibration_status_counts": _summed((rules.by_op[op.mnemonic].status, n) for op, n, _ in rows),
        "resource_work_cycles": work,
        "resource_utilization": {name: percent_of(covered[name], makespan) for name in work},
        "hbm_request_completion_wait_cycles": sum(work.get(name, 0) for name in MEMORY),
        "memory_compute_overlap_cycles": overlap,
        "memory_compute_overlap_pct": percent_of(overlap, makespan),
        "critical_path_cycles": _critical_path(sb, makespan, count),
        "rtl_validation": validation_report(sb, rules),
    }


def _critical_path(sb, makespan, count):
    """Partition of the makespan: a cycle for each instruction, the gaps by whom they waited for, and the end."""
    path = {name: int(sb.by_resource[k, sl.RES_CRITICAL]) for k, name in enumerate(sl.RESOURCES)}
    path["control_frontend"] += count
    path[sl.RESOURCES[int(sb.reg[sl.SB_LAST_RESOURCE])]] += makespan - int(sb.reg[sl.SB_NEXT_ISSUE])
    return _nonzero(dict(sorted(path.items())))
