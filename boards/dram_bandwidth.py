"""What a DRAM description can move at best, and how much of its time refreshes take (spec §10.2)."""

from .dram_schema import DramDescription
from .dram_timing import LEVELS


def peak_bandwidth(description: DramDescription, revision: str = "base") -> float:
    """Return the bytes a second of reads that always hit.

    The tightest RD to RD row of the timing table (§4.6) sets the pace, the data buses bound it, and a channel issues
    one command a clock.
    """
    org, nodes = description.organisation, 1
    rate = min(1.0, (org.rank if description.data_bus == "rank" else 1) / description.burst_clocks)  # RDs a clock
    rows = [row for row in description.timing_rows(revision) if row.preceding == row.following == "RD"]
    for level, count in zip(LEVELS, (1, org.rank, org.bankgroup, org.bank), strict=True):
        nodes *= count
        rate = min([rate, *(nodes * row.window / row.clocks for row in rows if row.level == level and row.clocks)])
    return rate * org.channel * description.transfer_bytes * 1e12 / description.period_ps


def refresh_share(description: DramDescription, revision: str = "base") -> float:
    """Return the part of the time in which a rank refreshes and serves nothing: tRFC / tREFI; 0 without refresh."""
    if not description.refresh_interval:
        return 0.0
    lengths = [row.clocks for row in description.timing_rows(revision)
               if (row.preceding, row.following) == ("REF", "ACT")]
    return max(lengths, default=0) / description.refresh_interval
