"""What got slower or faster between two benchmarks, beyond the spread of their own repetitions."""

import math

import msgspec

from .record import BenchRecord, Figure, Timing

NOISE_FACTOR = 4.0  # a difference of medians counts above so many combined median deviations,
SMALLEST_SHARE = 0.03  # above this share of the old median,
SMALLEST_S = 0.0005  # and above so many seconds


class Change(msgspec.Struct, kw_only=True):
    """A phase of a program whose median changed; `noise_s` is what it would have to exceed."""

    program: str
    model: str
    mode: str
    phase: str
    old_s: float
    new_s: float
    noise_s: float

    @property
    def slower(self) -> bool:
        return self.new_s > self.old_s

    @property
    def ratio(self) -> float:
        """New over old; a median below a nanosecond counts as one."""
        return max(self.new_s, 1e-9) / max(self.old_s, 1e-9)


class Comparison(msgspec.Struct, kw_only=True):
    """Changes, largest ratio first; how many phases stayed within noise; what cannot be compared, one line each."""

    slower: list[Change]
    faster: list[Change]
    unchanged: int
    remarks: list[str]


def noise_s(old: Timing, new: Timing) -> float:
    """Work out the seconds that two medians may differ by without meaning anything.

    Returns
    -------
    float
    """
    return max(NOISE_FACTOR * math.hypot(old.mad_s, new.mad_s), SMALLEST_SHARE * old.median_s, SMALLEST_S)


def compare(old: BenchRecord, new: BenchRecord) -> Comparison:
    """Compare every phase of every program that both records hold with the same simulated latency.

    Returns
    -------
    Comparison
    """
    before, after = _by_key(old), _by_key(new)
    remarks = _machine_remarks(old, new)
    changes, unchanged = [], 0
    for key in before.keys() & after.keys():
        first, second = before[key], after[key]
        if first.latency_ps != second.latency_ps:
            remarks.append(f"{' '.join(key)}: not compared, latency {first.latency_ps} ps before and"
                           f" {second.latency_ps} ps now")
            continue
        for change in _phases(first, second):
            if abs(change.new_s - change.old_s) > change.noise_s:
                changes.append(change)
            else:
                unchanged += 1
    for where, keys in (("old", before.keys() - after.keys()), ("new", after.keys() - before.keys())):
        remarks += [f"{' '.join(key)}: only in the {where} result" for key in sorted(keys)]
    changes.sort(key=lambda change: (-abs(math.log(change.ratio)), change.program, change.phase))
    return Comparison(slower=[change for change in changes if change.slower],
                      faster=[change for change in changes if not change.slower], unchanged=unchanged, remarks=remarks)


def _by_key(record):
    return {(found.program, found.model, found.mode): found for found in record.kernel + record.process}


def _phases(old: Figure, new: Figure):
    for phase in old.wall.keys() & new.wall.keys():
        first, second = old.wall[phase], new.wall[phase]
        yield Change(program=old.program, model=old.model, mode=old.mode, phase=phase, old_s=first.median_s,
                     new_s=second.median_s, noise_s=noise_s(first, second))


def _machine_remarks(old, new):
    """Where the machines differ, so that a difference in speed may be theirs."""
    first, second = msgspec.to_builtins(old.machine), msgspec.to_builtins(new.machine)
    versions = {name: (first["versions"].get(name), second["versions"].get(name))
                for name in first["versions"] | second["versions"]}
    rows = [(key, (first[key], second[key])) for key in first if key not in ("versions", "load_average")]
    return [f"{key}: {before} before and {now} now" for key, (before, now) in [*rows, *versions.items()]
            if before != now]
