"""Validation, timeline and memory profile (spec §7.11), each from the list of events."""

import hashlib
from collections import Counter

from .machine import HardwareMachine
from .scoreboard import Event, Machine, Timeline, resource_of

MEMORY = ("hbm_matrix_dma", "hbm_vector_dma", "hbm_vector_store")
COMPUTE = ("matrix_compute", "matrix_writeout", "vector_pipeline", "scalar_pipeline")
CATEGORIES = {"H": "memory", "M": "matrix_compute", "V": "vector_compute", "S": "scalar_compute", "C": "control"}


def _type(data_type):
    return None if data_type.integer else (data_type.exponent, data_type.mantissa)


def scoreboard_machine(run: HardwareMachine) -> Machine:
    """Geometry and formats of a run as the timeline takes them."""
    s, h = run.cfg, run.hardware
    return Machine(s.mlen, s.vlen, s.blen, s.broadcast, s.prefetch_m, s.prefetch_v, s.store_v, _type(h.weight),
                   _type(h.matrix_sram), _type(h.vector_sram), _type(h.scalar))


def timeline(run: HardwareMachine) -> Timeline:
    """Everything a run executed, placed (§7.6)."""
    placed = Timeline(scoreboard_machine(run))
    for done in run.log:
        service = max(1, -(-(done.end - done.start) // run.hardware.period)) if done.dma else 0
        placed.place(done.pc, done.op, done.fields, done.gp, service)
    return placed


def serial_events(run: HardwareMachine) -> list[Event]:
    """Events of the serial mode (§7.11)."""
    period = run.hardware.period
    return [Event(i, e.pc, e.op, e.start // period, e.start // period, 0, e.start // period, e.end // period,
                  e.end // period, resource_of(e.op), "legacy_functional_observed", True, False)
            for i, e in enumerate(run.log)]


def digest(events: list[Event]) -> str:
    """`trace_sha256` of the goldens."""
    return hashlib.sha256("".join(event.text for event in events).encode()).hexdigest()


def _sorted(counter) -> dict:
    return {key: counter[key] for key in sorted(counter) if counter[key]}


def validation(events: list[Event]) -> dict:
    """The validation object."""
    unsupported = [e for e in events if not e.supported]
    outside = [e for e in events if e.supported and not e.in_domain]

    def cycles(some):
        found = Counter()
        for e in some:
            found[e.resource] += e.completion - e.start
        return dict(sorted(found.items()))

    return {
        "status": "unsupported_opcodes" if unsupported else "out_of_calibration_domain" if outside else "validated",
        "total_opcodes": len(events),
        "validated_opcodes": len(events) - len(unsupported) - len(outside),
        "unsupported_opcodes": len(unsupported),
        "out_of_domain_opcodes": len(outside),
        "unsupported_opcode_counts": _sorted(Counter(e.opcode for e in unsupported)),
        "out_of_domain_opcode_counts": _sorted(Counter(e.opcode for e in outside)),
        "unsupported_resource_cycles": cycles(unsupported),
        "out_of_domain_resource_cycles": cycles(outside),
        "unsupported_makespan_sensitivity_cycles": max((e.completion for e in events), default=0)
        - max((e.completion for e in events if e.supported), default=0),
    }


def union(intervals) -> list[tuple[int, int]]:
    """Disjoint ascending intervals that cover the same cycles."""
    merged: list[list[int]] = []
    for first, last in sorted(intervals):
        if merged and first <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], last)
        elif last > first:
            merged.append([first, last])
    return [tuple(pair) for pair in merged]


def _length(intervals):
    return sum(last - first for first, last in intervals)


def _intersection(a, b):
    total = i = j = 0
    while i < len(a) and j < len(b):
        total += max(0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] < b[j][1]:
            i += 1
        else:
            j += 1
    return total


def critical_path(events: list[Event], makespan: int) -> dict:
    """Partition of the makespan by resource."""
    found, cursor = Counter(), 0
    for e in events:
        gap = e.accepted - cursor
        if gap > 0:
            found["control_frontend" if e.dependency is None else events[e.dependency].resource] += gap
        if e.accepted < makespan:
            found["control_frontend"] += 1
        cursor = min(e.accepted + 1, makespan)
    if events:
        found[max(events, key=lambda e: (e.completion, e.sequence)).resource] += makespan - cursor
    return _sorted(found)


def timeline_report(events: list[Event], makespan: int, period: int) -> dict:
    """The timeline object."""
    stalls, backend, work, spans = Counter(), Counter(), Counter(), {}
    for e in events:
        stalls[e.reason] += e.accepted - e.issue - e.recovery
        stalls["pipeline_recovery"] += e.recovery
        backend[e.reason] += e.start - e.accepted
        work[e.resource] += e.completion - e.start
        spans.setdefault(e.resource, []).append((e.start, e.completion))
    percent = (lambda cycles: cycles * 100 / makespan) if makespan else (lambda cycles: 0.0)
    memory = union(pair for name in MEMORY for pair in spans.get(name, ()))
    compute = union(pair for name in COMPUTE for pair in spans.get(name, ()))
    overlap = _intersection(memory, compute)
    return {
        "total_makespan_cycles": makespan,
        "total_makespan_picos": makespan * period,
        "total_makespan_ns": makespan * period / 1000,
        "frontend_issue_cycles": len(events),
        "stall_cycles_by_reason": _sorted(stalls),
        "backend_wait_cycles_by_reason": _sorted(backend),
        "timing_calibration_status_counts": _sorted(Counter(e.status for e in events)),
        "resource_work_cycles": dict(sorted(work.items())),
        "resource_utilization": {key: percent(_length(union(spans[key]))) for key in sorted(spans)},
        "hbm_request_completion_wait_cycles": sum(work[name] for name in MEMORY),
        "memory_compute_overlap_cycles": overlap,
        "memory_compute_overlap_pct": percent(overlap),
        "critical_path_cycles": critical_path(events, makespan),
        "rtl_validation": validation(events),
    }


def dma_transfers(run: HardwareMachine) -> dict:
    """The `dma_transfers` object."""
    done = [entry.dma for entry in run.log if entry.dma]
    both = ("read", [d for d in done if not d.store]), ("write", [d for d in done if d.store])
    lines = {"read": sum(d.read_lines for d in done), "write": sum(d.write_lines for d in done)}
    out = {f"{name}_operations": len(some) for name, some in both}
    out |= {f"{name}_logical_elements": sum(d.elements for d in some) for name, some in both}
    out |= {f"{name}_useful_payload_bytes": sum(-(-d.payload_bits // 8) for d in some) for name, some in both}
    out |= {f"{name}_packed_transfer_bytes": sum(d.packed_bytes for d in some) for name, some in both}
    out |= {f"{name}_coalesced_line_requests": count for name, count in lines.items()}
    out |= {f"{name}_coalesced_line_bytes": 64 * count for name, count in lines.items()}
    out |= {f"{name}_physical_burst_bytes": 64 * count for name, count in lines.items()}
    return out | {f"{name}_physical_bursts": 4 * count for name, count in lines.items()}


def _category(durations, total):
    return {
        "count": len(durations),
        "total_picos": sum(durations),
        "total_ns": sum(durations) / 1000,
        "max_picos": max(durations),
        "percent_of_profiled_time": sum(durations) * 100 / total if total else 0.0,
    }


def memory_profile(run: HardwareMachine, placed: Timeline | None, level: str = "aggregate") -> dict:
    """The memory profile; serial without a timeline. `timing_calibration` is left out."""
    period = run.hardware.period
    if placed is None:
        durations = [(e.op, e.end - e.start) for e in run.log]
        total = sum(duration for _, duration in durations)
    else:
        durations = [(e.opcode, (e.completion - e.start) * period) for e in placed.events]
        total = placed.makespan * period
    read, written = run.bytes_moved
    report = {
        "schema_version": 1 if placed is None else 2,
        "timing_mode": "legacy" if placed is None else "rtl-v1",
        "profile_level": level,
        "program_total_picos": total,
        "program_total_ns": total / 1000,
        "hbm_bytes_read": read,
        "hbm_bytes_written": written,
        "dma_transfers": dma_transfers(run),
    }
    if placed is not None:
        report["timeline"] = timeline_report(placed.events, placed.makespan, period)
    by_category, by_op = {}, {}
    for op, duration in durations:
        by_category.setdefault(CATEGORIES[op[0]], []).append(duration)
        by_op.setdefault(op, []).append(duration)
    report["categories"] = {name: _category(by_category[name], total) for name in sorted(by_category)}
    if level == "opcode":
        report["opcodes"] = {op: {"category": CATEGORIES[op[0]]} | _category(by_op[op], total) for op in sorted(by_op)}
    return report
