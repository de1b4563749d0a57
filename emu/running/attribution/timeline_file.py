"""The timeline of a run as trace events, which Perfetto and chrome://tracing open.

Tracks: stages (operators inside layers), one for each unit (matrix, vector, scalar, DMA) and the host link; counters of
bandwidth and of bytes swapped into the DDR. Time is simulated time.

The number of slices is bounded. When there are too many, time is cut into buckets, and what a track has of one stage in
a bucket becomes one slice: durations stay exact, the order inside a bucket is lost. Buckets double as the run goes on.
"""

import gzip
import json
from collections.abc import Iterator
from typing import IO

import numpy as np

from ... import isa
from ...kernels import layout
from ...kernels.limits import ACCESS_BYTES
from ...kernels.memory import ledger as lg
from ...program.decode import Program
from .labels import Labels, Stage

TRACKS = ("stages", "matrix", "vector", "scalar", "DMA", "host link")
STAGES, MATRIX, VECTOR, SCALAR, DMA, LINK = range(len(TRACKS))
UNIT_OF = {"matrix": MATRIX, "vector": VECTOR, "memory": DMA}  # all other types of instructions are scalar

# Columns of a slice.
TRACK, STAGE, START, BUSY, MEMORY, BYTES, INSTRUCTIONS, WIDTH = range(8)

MOST_POINTS = 1 << 16  # of the curve of bytes moved
COUNTER_POINTS = 2000  # of a counter in the file
PS_PER_US = 1e6


class Timeline:
    """Slices of a run, taken in as it goes on.

    `tracks` are the names of the tracks, that of stages first; `part_name` is what the column MEMORY is called.

    Parameters
    ----------
    program : Program
    labels : Labels
    most : int
        Most slices to keep; not below `least`.
    ledger : Ledger, optional
        That of the run: it knows how many bytes went over the host link.

    Attributes
    ----------
    bucket_ps : int
        Width of the buckets in which slices were merged, 0 while none were.
    held_bytes : int
        Bytes that lie in the DDR all along, 0 where that is not known; a counter shows them.
    """

    tracks: tuple[str, ...] = TRACKS
    part_name = "memory_ps"
    linked_track: int | None = DMA  # whose transfers have slices of the host link as well

    def __init__(self, program: Program, labels: Labels, most: int, ledger: lg.Ledger | None = None):
        units = [SCALAR if op is None else UNIT_OF.get(op.type, SCALAR) for op in isa.BY_ID]
        self._unit = np.array(units)[program.table[:, layout.OP_ID]]
        self._labels = labels
        self._most = most
        self._ledger = ledger
        self._linked = self._link_bytes()
        self._now = 0
        self._parts: list[np.ndarray] = []
        self._kept = 0
        self.bucket_ps = 0
        self.held_bytes = 0
        self._moved = [np.zeros((1, 2), dtype=np.int64)]  # (instant, bytes moved by then)
        self._resident = [np.zeros((1, 2), dtype=np.int64)]  # (instant, bytes resident from then on)

    def watch(self, executed: np.ndarray, durations: np.ndarray, events: np.ndarray) -> None:
        """Take in the next instructions.

        Parameters
        ----------
        executed : int64[n, TR_WIDTH]
        durations : int64[n]
            Picoseconds.
        events : int64[m, MEV_WIDTH]
            Memory events among them, done by now.
        """
        if not len(executed):
            return
        words = executed[:, layout.TR_PC]
        unit, stage = self._unit[words], self._labels.of_word[words].astype(np.int64)
        rows = np.zeros((len(words), WIDTH), dtype=np.int64)
        rows[:, STAGE], rows[:, BUSY], rows[:, INSTRUCTIONS] = stage, durations, 1
        rows[:, START] = self._now + np.cumsum(durations) - durations
        moves = unit == DMA
        rows[moves, MEMORY] = durations[moves]
        rows[moves, BYTES] = events[:, layout.MEV_BYTES]
        self._now += int(durations.sum())
        on_units = rows.copy()
        on_units[:, TRACK] = unit
        linked = rows[moves][events[:, layout.MEV_LINK_PS] > 0]
        linked[:, TRACK] = LINK
        events_linked = events[events[:, layout.MEV_LINK_PS] > 0]
        linked[:, BUSY] = np.minimum(linked[:, BUSY], events_linked[:, layout.MEV_LINK_PS])
        linked[:, BYTES] = self._over_link(events_linked)
        on_units = joined_runs(on_units, unit * len(self._labels.stages) + stage)
        for part in (joined_runs(rows, stage), on_units[on_units[:, BUSY] > 0], linked[linked[:, BUSY] > 0]):
            self._add(part)
        self._count(events)

    @property
    def least(self) -> int:
        """Fewest slices that any run of the program fits in.

        One for each stage and its layer, for each stage on each unit that it uses, and for its part of the host link.
        """
        stages = len(self._labels.stages)
        layers = sum(stage.layer is not None for stage in self._labels.stages)
        units = np.unique(self._unit * stages + self._labels.of_word)
        return stages + layers + len(units) + int((units // stages == self.linked_track).sum())

    def _link_bytes(self):
        """Bytes over the host link so far by word, int64[words]; None without a ledger."""
        if self._ledger is None:
            return None
        by_pc = self._ledger.by_pc
        return (ACCESS_BYTES * by_pc[:, lg.LG_STREAMED] + (by_pc[:, lg.LG_SWAPPED_HI] << 32)
                + by_pc[:, lg.LG_SWAPPED_LO])

    def _over_link(self, events):
        """Bytes that each event moved over the link: those of its word since the last slice, by time on the link.

        Sums by word are exact; the link has one rate, so that shares by time are those of bytes but for rounding.
        """
        if self._linked is None or not len(events):
            return 0
        before, self._linked = self._linked, self._link_bytes()
        moved = np.zeros(len(events), dtype=np.int64)
        words = events[:, layout.MEV_PC]
        for word in np.unique(words).tolist():
            at = np.flatnonzero(words == word)
            total, times = int(self._linked[word] - before[word]), events[at, layout.MEV_LINK_PS].tolist()
            whole, done, given = sum(times), 0, 0
            for place, took in zip(at.tolist(), times, strict=True):
                done += took
                moved[place] = total * done // whole - given
                given += int(moved[place])
        return moved

    def _add(self, rows):
        """Keep slices; merge where there are too many."""
        if not len(rows):
            return
        if self.bucket_ps:
            rows = _merged(rows, self.bucket_ps, len(self._labels.stages))
        self._parts.append(rows)
        self._kept += len(rows)
        while self._kept > self._most:
            self.bucket_ps = max(2 * self.bucket_ps, 8 * self._now // self._most, 1)
            table = _merged(np.concatenate(self._parts), self.bucket_ps, len(self._labels.stages))
            if len(table) == self._kept and self.bucket_ps > self._now:
                break  # one bucket holds everything: a slice for each stage and track is left
            self._parts, self._kept = [table], len(table)

    def _count(self, events):
        """Points of the counters: bytes grow from the start of an event to its end."""
        if not len(events):
            return
        done, size = events[:, layout.MEV_DONE], events[:, layout.MEV_BYTES]
        moved = self._moved[-1][-1, 1] + np.cumsum(size)
        self._moved = _thinned([*self._moved, np.column_stack((done, moved))])
        changes = np.flatnonzero(np.diff(events[:, layout.MEV_RESIDENT], prepend=self._resident[-1][-1, 1]))
        if len(changes):
            self._resident = _thinned([*self._resident, np.column_stack(
                (done[changes], events[changes, layout.MEV_RESIDENT]))])

    def _fit(self):
        """Merge on until the slices of layers have room as well."""
        while self._kept > 1:
            table = self._drawn()
            if self._kept + len(_layers(self.stages, table[table[:, TRACK] == STAGES])) <= self._most:
                return
            if self.bucket_ps > self._now:
                return
            self.bucket_ps = max(2 * self.bucket_ps, 8 * self._now // self._most, 1)
            table = _merged(np.concatenate(self._parts), self.bucket_ps, len(self._labels.stages))
            self._parts, self._kept = [table], len(table)

    def slices(self) -> np.ndarray:
        """Collect the slices; those of layers around them come with `layers`.

        Returns
        -------
        int64[slices, WIDTH]
            By track, then by bucket and start; `START` is where a slice is drawn.
        """
        self._fit()
        return self._drawn()

    def layers(self, table: np.ndarray) -> list[tuple[int, int, int]]:
        """List the slices of layers around those of a table of `slices`: (layer, start, end) in ps.

        Returns
        -------
        list of (int, int, int)
        """
        return _layers(self.stages, table[table[:, TRACK] == STAGES])

    def _drawn(self):
        table = np.concatenate(self._parts) if self._parts else np.zeros((0, WIDTH), dtype=np.int64)
        table = table[np.lexsort((table[:, START], table[:, TRACK]))]
        free = dict.fromkeys(range(len(self.tracks)), 0)
        starts = table[:, START].tolist()
        for at, (track, busy) in enumerate(zip(table[:, TRACK].tolist(), table[:, BUSY].tolist(), strict=True)):
            starts[at] = max(starts[at], free[track])
            free[track] = starts[at] + busy
        table[:, START] = starts
        return table

    def bandwidth(self, count: int = COUNTER_POINTS) -> list[tuple[int, float]]:
        """Sample the bandwidth at up to `count` instants: (instant in ps, bytes a second from then on)."""
        points = np.concatenate(self._moved)
        edges = np.unique(np.linspace(0, max(self._now, 1), count + 1).astype(np.int64))
        moved = np.interp(edges, points[:, 0], points[:, 1])
        rates = np.diff(moved) / (np.diff(edges) / 1e12)
        return list(zip(edges[:-1].tolist(), rates.tolist(), strict=True))

    def resident(self) -> list[tuple[int, int]]:
        """List the bytes swapped in: (instant in ps, bytes from then on); empty where nothing is ever swapped."""
        points = np.concatenate(self._resident)
        return [tuple(point) for point in points.tolist()] if len(points) > 1 else []

    @property
    def end_ps(self) -> int:
        """End of what was taken in so far."""
        return self._now

    @property
    def stages(self) -> list[Stage]:
        """What `STAGE` of a slice is an index of."""
        return self._labels.stages


def joined_runs(rows, key):
    """Join rows (int64[n, WIDTH]) that follow each other with the same key (int64[n], none of them -1)."""
    first = np.flatnonzero(np.diff(key, prepend=-1))
    joined = rows[first]
    for column in (BUSY, MEMORY, BYTES, INSTRUCTIONS):
        joined[:, column] = np.add.reduceat(rows[:, column], first)
    return joined


def _merged(rows, bucket_ps, stages):
    """Join slices of a track, a bucket and a stage."""
    keys = (rows[:, TRACK] * stages + rows[:, STAGE], rows[:, START] // bucket_ps)
    order = np.lexsort((rows[:, START], *keys))
    rows = rows[order]
    changed = np.diff(keys[0][order], prepend=-1).astype(bool) | np.diff(keys[1][order], prepend=-1).astype(bool)
    return joined_runs(rows, np.cumsum(changed))


def _thinned(parts):
    """Points of a curve; every second one is dropped where there are too many, never the last."""
    if sum(map(len, parts)) <= MOST_POINTS:
        return parts
    points = np.concatenate(parts)
    return [np.concatenate((points[:-1:2], points[-1:]))]


# --- the file ----------------------------------------------------------------------------------------


def write_timeline(timeline: Timeline, file: IO[bytes], compress: bool, about: dict) -> None:
    """Write the trace events as JSON.

    Parameters
    ----------
    file : binary file
    compress : bool
        Whether with gzip; the same run gives the same bytes.
    about : dict
        What was run, for `otherData`.
    """
    if compress:
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
            _write(timeline, packed, about)
    else:
        _write(timeline, file, about)


def _write(timeline, file, about):
    about = about | {"time": "simulated", "buckets_ps": timeline.bucket_ps}
    if timeline.bucket_ps:
        about["merged"] = (f"slices of a track and stage within {timeline.bucket_ps} ps are one; durations are exact,"
                           " the order inside is not kept")
    head = json.dumps({"displayTimeUnit": "ns", "otherData": about})
    file.write(head[:-1].encode() + b', "traceEvents": [\n')
    separator = b""
    for event in trace_events(timeline):
        file.write(separator + json.dumps(event, separators=(",", ":")).encode())
        separator = b",\n"
    file.write(b"\n]}\n")


def trace_events(timeline: Timeline) -> Iterator[dict]:
    """Yield the events of the trace-event format: names, slices with exact picoseconds in `args`, counters."""
    for track, name in enumerate(timeline.tracks):
        yield {"ph": "M", "name": "thread_name", "pid": 1, "tid": track, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": track, "args": {"sort_index": track}}
    yield {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "PLENA"}}
    table = timeline.slices()
    for layer, start, end in timeline.layers(table):
        yield {"ph": "X", "name": f"layer {layer}", "cat": "layer", "pid": 1, "tid": STAGES,
               "ts": start / PS_PER_US, "dur": (end - start) / PS_PER_US, "args": {"ps": end - start}}
    for row in table.tolist():
        stage = timeline.stages[row[STAGE]]
        yield {
            "ph": "X", "name": stage.operator, "cat": timeline.tracks[row[TRACK]], "pid": 1, "tid": row[TRACK],
            "ts": row[START] / PS_PER_US, "dur": row[BUSY] / PS_PER_US,
            "args": {"layer": stage.layer, "ps": row[BUSY], timeline.part_name: row[MEMORY], "bytes": row[BYTES],
                     "instructions": row[INSTRUCTIONS]},
        }
    for instant, rate in timeline.bandwidth():
        yield _counter("bandwidth (bytes/s)", instant, rate)
    if timeline.held_bytes:
        for instant in (0, timeline.end_ps):
            yield _counter("resident in the DDR (bytes)", instant, timeline.held_bytes)
    for instant, size in timeline.resident():
        yield _counter("swapped into DDR (bytes)", instant, size)


def _layers(stages, table):
    """(layer, start, end) of the layers around slices of stages, those outside layers left out."""
    layers = np.array([-1 if stage.layer is None else stage.layer for stage in stages])[table[:, STAGE]]
    first = np.flatnonzero(np.diff(layers, prepend=-2))
    last = np.append(first[1:], len(table)) - 1
    starts, ends = table[first, START], table[last, START] + table[last, BUSY]
    return [row for row in zip(layers[first].tolist(), starts.tolist(), ends.tolist(), strict=True) if row[0] >= 0]


def _counter(name, instant, value):
    return {"ph": "C", "name": name, "pid": 1, "ts": instant / PS_PER_US, "args": {"value": value}}
