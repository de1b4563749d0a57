"""Hardware timing in the summary: both latencies, what the units did, what instructions waited for (spec §7.11)."""

from .table import Table, Title, pairs

_MOST_REASONS = 8
# Calibration status of an instruction (§7.7), and what a summary calls it.
_STATUSES = (("full_machine_measured", "measured on the RTL"), ("ramulator_observed", "DMAs timed by the memory"),
             ("structural_extrapolation", "extrapolated"), ("unsupported_rtl", "not supported by the RTL"))


def hardware_blocks(result) -> list:
    """Make the blocks of a result's hardware timing; none without it."""
    found = result.hardware
    if found is None:
        return []
    rows = [("timing", found.timing), ("DMA", found.dma), ("memory", _memory(result)),
            ("core cycle", f"{found.clock_period_ps:,} ps")]
    timeline = found.timeline
    if timeline is None:
        return [Title("Hardware timing"), pairs(rows)]
    rows += [
        ("serial latency", f"{found.serial_latency_ps / 1000:,.3f} ns,"
                           f" {_ratio(found.serial_latency_ps, result.latency_ps)} of the timeline's"),
        ("makespan", f"{timeline['total_makespan_cycles']:,} cycles"),
        ("memory beside compute", f"{timeline['memory_compute_overlap_cycles']:,} cycles"
                                  f" ({timeline['memory_compute_overlap_pct']:.1f} %)"),
        ("costs", _origins(timeline)),
        ("RTL validation", _validated(timeline["rtl_validation"])),
    ]
    return [Title("Hardware timing"), pairs(rows), *_resources(timeline), *_stalls(timeline)]


def _ratio(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def _memory(result):
    """The memory that was timed, with its channels."""
    channels = result.hardware.hbm_channels
    if channels is None:
        return "the idealised DDR of §3.5"
    name = result.dram_statistics["dram"].removesuffix(f" with {channels} channels")
    return f"{name}, {channels} channel{'' if channels == 1 else 's'}"


def _origins(timeline):
    """Share of the instructions by where their costs come from (calibration status), the four in fixed order."""
    counts = timeline["timing_calibration_status_counts"]
    total = timeline["rtl_validation"]["total_opcodes"]
    return ", ".join(f"{_ratio(counts[status], total)} {words}" for status, words in _STATUSES if counts.get(status))


def _validated(validation):
    """Share of the instructions inside the domain of the measurements, measured themselves or not (§7.11)."""
    total = validation["total_opcodes"]
    return (f"{validation['status']}: {_ratio(validation['validated_opcodes'], total)} of the instructions,"
            f" {_ratio(validation['out_of_domain_opcodes'], total)} out of domain,"
            f" {_ratio(validation['unsupported_opcodes'], total)} unsupported")


def _resources(timeline):
    """What each resource did, and its share of the critical path."""
    path, makespan = timeline["critical_path_cycles"], timeline["total_makespan_cycles"]
    names = sorted({*timeline["resource_utilization"], *path}, key=lambda name: -path.get(name, 0))
    rows = [(name, f"{timeline['resource_utilization'].get(name, 0):.1f}", f"{path.get(name, 0):,}",
             _ratio(path.get(name, 0), makespan)) for name in names]
    return [Title("Units"), Table(rows, "lrrr", ("resource", "busy %", "critical cycles", "of makespan"))]


def _stalls(timeline):
    """Cycles that instructions waited, by reason, the longest first."""
    found = timeline["stall_cycles_by_reason"] | {
        f"{reason} (accepted, not started)": cycles
        for reason, cycles in timeline["backend_wait_cycles_by_reason"].items()
    }
    ranked = sorted(found.items(), key=lambda entry: (-entry[1], entry[0]))
    rest = ranked[_MOST_REASONS:]
    if len(rest) > 1:
        ranked[_MOST_REASONS:] = [(f"{len(rest)} other reasons", sum(cycles for _, cycles in rest))]
    rows = [(reason, f"{cycles:,}") for reason, cycles in ranked]
    return [Title("Stalls"), Table(rows, "lr", ("reason", "cycles"))] if rows else []
