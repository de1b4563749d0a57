"""Statistics of a DRAM controller (spec §4.8) as rows of a table."""

from ..boards.dram_bandwidth import peak_bandwidth, refresh_share
from ..boards.dram_schema import DramDescription
from ..isa import REVISIONS
from ..memory.dram_statistics import DramStatistics, ReplayStatistics
from ..result import nanoseconds, scientific
from .quantities import size
from .table import Table, Title, pairs, write


def dram_rows(found: DramStatistics):
    """Yield the statistics as (name, text); the text is None for what is not worth a line."""
    requests = found.row_hits + found.row_misses + found.row_conflicts
    share = found.bandwidth_bytes_per_s / found.peak_bandwidth_bytes_per_s
    busy = " ".join(f"{100 * part:.0f}" for part in found.channel_busy_share)
    yield "DRAM rows", (f"{_of(found.row_hits, requests)} hits, {_of(found.row_misses, requests)} misses,"
                        f" {_of(found.row_conflicts, requests)} conflicts")
    yield "DRAM read latency", "from admission: " + _latencies(
        found.read_latency_mean_ps, found.read_latency_p99_ps, found.read_latency_max_ps)
    if isinstance(found, ReplayStatistics):
        yield "", "from issue: " + _latencies(
            found.read_latency_from_issue_mean_ps, found.read_latency_from_issue_p99_ps,
            found.read_latency_from_issue_max_ps)
    yield "DRAM bandwidth", (f"{scientific(found.bandwidth_bytes_per_s)} of"
                             f" {scientific(found.peak_bandwidth_bytes_per_s)} bytes/s ({100 * share:.1f} %)")
    yield "DRAM channels busy", f"{busy} %"
    yield "DRAM refreshes", f"{found.refreshes:,}" if found.refreshes else None
    yield "DRAM rejected attempts", f"{found.rejected_attempts:,}" if found.rejected_attempts else None


def print_dram(found: DramStatistics, trace: str, isa: str, stream, origin: str = "") -> None:
    """Write the table of a replayed trace to the text `stream`; `origin` says what named the memory."""
    rows = [("accesses", f"{found.reads:,} reads, {found.writes:,} writes, {found.bytes:,} bytes"),
            ("last event", f"{nanoseconds(found.last_event_ps)} ns"),
            *((name.removeprefix("DRAM "), text) for name, text in dram_rows(found))]
    write([Title(f"{trace} on {found.dram}{origin}, isa {isa}"), pairs(rows)], stream)


def print_descriptions(descriptions: list[DramDescription], stream) -> None:
    """Write the table of DRAM descriptions to the text `stream`, and what there is to know about each."""
    write([Table([_description(found) for found in descriptions], "lrrrrl",
                 ("DRAM", "peak GB/s", "size", "read ns", "refresh", ""))], stream)


def _description(found):
    """A row: name, peak of each revision, capacity, an unloaded read, the share of refreshes, and words."""
    peak = " / ".join(dict.fromkeys(f"{peak_bandwidth(found, isa) / 1e9:.1f}" for isa in REVISIONS))
    share = refresh_share(found)
    return (found.name, peak, size(found.capacity_bytes) if found.capacity_bytes else "", f"{_read_ns(found):.1f}",
            f"{100 * share:.1f} %" if share else "none", "; ".join(filter(None, (found.description, found.note))))


def _read_ns(description):
    """Nanoseconds of a lone read of a closed bank, without what the transfers of an access wait for each other."""
    to_read = max((row.clocks for row in description.timing_rows("base")
                   if (row.preceding, row.following) == ("ACT", "RD")), default=0)
    return (to_read + description.read_clocks) * description.period_ps / 1000


def _latencies(mean, p99, longest):
    return f"mean {mean / 1000:,.3f} ns, p99 {nanoseconds(p99)} ns, longest {nanoseconds(longest)} ns"


def _of(part, whole):
    return f"{part:,}" + (f" ({100 * part / whole:.1f} %)" if whole else "")
