"""What a DRAM controller counted (spec §4.8), as values."""

import msgspec
import numpy as np

from ..boards.dram_bandwidth import peak_bandwidth
from ..boards.dram_schema import DramDescription
from ..kernels.dram import state as dram_state

ACCESS_BYTES = 64
PERCENT = 99


class DramStatistics(msgspec.Struct, kw_only=True, frozen=True):
    """Statistics of a DRAM up to its last event.

    Hits, misses and conflicts are those of transfers, by the first command issued for each; a write still queued at
    the end is one of them only if an ACT or PRE was issued for it. A read's latency, too, is that of a transfer, from
    its admission (its first attempt, when it holds the read lock of §4.9) to its data: whole clocks, and from 2048
    clocks on the percentile is rounded up by less than one part in 1024. A channel is busy in a clock
    with a request queued or data under way. Writes still queued at the end are no part of
    `bandwidth_bytes_per_s`. `peak_bandwidth_bytes_per_s` is that of reads of open rows.
    """

    dram: str
    reads: int
    writes: int
    bytes: int
    row_hits: int
    row_misses: int
    row_conflicts: int
    refreshes: int
    forwarded_reads: int
    rejected_attempts: int
    read_latency_mean_ps: float
    read_latency_p99_ps: int
    read_latency_max_ps: int
    channel_busy_share: list[float]
    last_event_ps: int
    bandwidth_bytes_per_s: float
    peak_bandwidth_bytes_per_s: float


def statistics(state: dram_state.DramState, description: DramDescription, revision: str = "base") -> DramStatistics:
    """Statistics of a memory that `new_state(description, revision)` built; its channels must be caught up."""
    front, channels, lockstep = state.front[0], state.channels, int(state.config[0]["lockstep_channels"])
    bins = front["latency_bins"] + channels["latency_bins"].sum(axis=0)
    returned, period, last = int(bins.sum()), description.period_ps, int(front["last_event"])
    count = channels["count"].sum(axis=0)
    busy = np.repeat(channels["count"][:, dram_state.BUSY], lockstep)
    longest = int(max(front["latency_max"], channels["latency_max"].max()))
    total = ACCESS_BYTES * int(front["reads"] + front["writes"])
    moved = total - int(channels["queued"].sum() + channels["active"].sum()) * int(state.config[0]["sub_request_bytes"])
    return DramStatistics(
        dram=description.label,
        reads=int(front["reads"]),
        writes=int(front["writes"]),
        bytes=total,
        row_hits=lockstep * int(count[dram_state.FIRST_COMMANDS + dram_state.COLUMN]),
        row_misses=lockstep * int(count[dram_state.FIRST_COMMANDS + dram_state.ACT]),
        row_conflicts=lockstep * int(count[dram_state.FIRST_COMMANDS + dram_state.PRE]),
        refreshes=lockstep * int(count[dram_state.REFRESHES]),
        forwarded_reads=lockstep * int(count[dram_state.FORWARDED_READS]),
        rejected_attempts=int(count[dram_state.REJECTED_SENDS]),
        read_latency_mean_ps=period * int(count[dram_state.LATENCY_SUM]) / returned if returned else 0.0,
        read_latency_p99_ps=period * min(_percentile(bins, PERCENT), longest),
        read_latency_max_ps=period * longest,
        channel_busy_share=[int(clocks) / max(int(front["ticks"]), 1) for clocks in busy],
        last_event_ps=last,
        bandwidth_bytes_per_s=moved / (last / 1e12) if last else 0.0,
        peak_bandwidth_bytes_per_s=peak_bandwidth(description, revision),
    )


class ReplayStatistics(DramStatistics, kw_only=True, frozen=True):
    """Statistics of a replay: those of the memory, and of its 64-byte reads from issue (first poll) to their data.

    A read that waits for the read lock waits before its admission: in an overloaded memory these latencies are far
    above `read_latency_*`.
    """

    read_latency_from_issue_mean_ps: float
    read_latency_from_issue_p99_ps: int
    read_latency_from_issue_max_ps: int


class Latencies:
    """Mean, 99th percentile and largest of latencies, exact, that are counted part by part.

    Of `most` of them no more than one in 100 lies above the percentile, so only that many of the longest are kept.

    Parameters
    ----------
    most : int
        Latencies that will be counted, at most.
    """

    def __init__(self, most: int):
        self._kept = most * (100 - PERCENT) // 100 + 1
        # The longest so far, in any order, and others; when it is full, it is cut to those that count.
        self._longest = np.empty(2 * self._kept, dtype=np.int64)
        self._held = 0
        self._above = np.int64(-1)  # no latency up to this one is among those that count
        self._sum = self._count = 0

    def count(self, latencies: np.ndarray) -> None:
        """Count int64[n] more."""
        self._count += len(latencies)
        self._sum += int(latencies.sum())
        latencies = latencies[latencies > self._above]
        while len(latencies):
            some = latencies[: len(self._longest) - self._held]
            self._longest[self._held : self._held + len(some)] = some
            self._held += len(some)
            latencies = latencies[len(some) :]
            if self._held == len(self._longest):
                self._longest.partition(self._kept)
                self._longest[: self._kept] = self._longest[self._kept :]
                self._held, self._above = self._kept, self._longest[: self._kept].min()
                latencies = latencies[latencies > self._above]

    @property
    def mean(self) -> float:
        """The mean, 0 of none."""
        return self._sum / self._count if self._count else 0.0

    @property
    def percentile(self) -> int:
        """The least latency that `PERCENT` % of all do not exceed, 0 of none."""
        if self._count == 0:
            return 0
        held = self._longest[: self._held]
        rank = self._held - 1 - (self._count - -(-PERCENT * self._count // 100))  # that many lie above it
        held.partition(rank)
        return int(held[rank])

    @property
    def largest(self) -> int:
        """The largest, 0 of none."""
        return int(self._longest[: self._held].max(initial=0))


def replay_statistics(state, description, revision, waited: Latencies) -> ReplayStatistics:
    """Return the statistics of a memory after a replay whose reads `waited` in ps from issue to data."""
    return ReplayStatistics(
        **msgspec.structs.asdict(statistics(state, description, revision)),
        read_latency_from_issue_mean_ps=waited.mean,
        read_latency_from_issue_p99_ps=waited.percentile,
        read_latency_from_issue_max_ps=waited.largest,
    )


def _percentile(bins: np.ndarray, percent: int) -> int:
    """Clocks that `percent` % of the counted latencies do not exceed: the last clock of the bin it falls in."""
    total = int(bins.sum())
    if total == 0:
        return 0
    number = int(np.searchsorted(np.cumsum(bins), -(-percent * total // 100)))
    octave = max(0, (number - dram_state.LINEAR) // dram_state.OCTAVE + 1)
    return ((number - dram_state.OCTAVE * octave + 1) << octave) - 1
