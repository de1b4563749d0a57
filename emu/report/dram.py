"""Statistics of a DRAM controller (spec §4.8) as rows of a table."""

from ..memory.dram_statistics import DramStatistics
from ..result import nanoseconds, scientific
from .table import Title, pairs, write


def dram_rows(found: DramStatistics):
    """Yield the statistics as (name, text); the text is None for what is not worth a line."""
    requests = found.row_hits + found.row_misses + found.row_conflicts
    share = found.bandwidth_bytes_per_s / found.peak_bandwidth_bytes_per_s
    busy = " ".join(f"{100 * part:.0f}" for part in found.channel_busy_share)
    yield "DRAM rows", (f"{_of(found.row_hits, requests)} hits, {_of(found.row_misses, requests)} misses,"
                        f" {_of(found.row_conflicts, requests)} conflicts")
    yield "DRAM read latency", (f"mean {found.read_latency_mean_ps / 1000:,.3f} ns,"
                                f" p99 {nanoseconds(found.read_latency_p99_ps)} ns,"
                                f" longest {nanoseconds(found.read_latency_max_ps)} ns")
    yield "DRAM bandwidth", (f"{scientific(found.bandwidth_bytes_per_s)} of"
                             f" {scientific(found.peak_bandwidth_bytes_per_s)} bytes/s ({100 * share:.1f} %)")
    yield "DRAM channels busy", f"{busy} %"
    yield "DRAM refreshes", f"{found.refreshes:,}" if found.refreshes else None
    yield "DRAM rejected attempts", f"{found.rejected_attempts:,}" if found.rejected_attempts else None


def print_dram(found: DramStatistics, trace: str, isa: str, stream) -> None:
    """Write the table of a replayed trace to the text `stream`."""
    rows = [("accesses", f"{found.reads:,} reads, {found.writes:,} writes, {found.bytes:,} bytes"),
            ("last event", f"{nanoseconds(found.last_event_ps)} ns"),
            *((name.removeprefix("DRAM "), text) for name, text in dram_rows(found))]
    write([Title(f"{trace} on {found.dram}, isa {isa}"), pairs(rows)], stream)


def _of(part, whole):
    return f"{part:,}" + (f" ({100 * part / whole:.1f} %)" if whole else "")
