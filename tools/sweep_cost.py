"""Measures what a point of a sweep costs, step by step: the figures of docs/scale.md.

    python tools/sweep_cost.py BUILD [--points N]

Prints CPU time a point of this process, scheduler included, for making, running, storing, reading and showing points,
and for scheduling points that do nothing on two workers.
"""

import argparse
import tempfile
import time
from itertools import islice

from plena_emu.sweeping.batches import Batches
from plena_emu.sweeping.cluster import open_cluster
from plena_emu.sweeping.engine import EngineOptions
from plena_emu.sweeping.outputs import csv_bytes
from plena_emu.sweeping.points import Point
from plena_emu.sweeping.records import Record, decode, encode, failure_record
from plena_emu.sweeping.results import collect
from plena_emu.sweeping.specify import Specifier
from plena_emu.sweeping.store import Store
from plena_emu.sweeping.study import make_study
from plena_emu.sweeping.worker import Workshop

TIMED = 40  # points that are run


def told(what, count, seconds):
    """Print what a point costs in a step."""
    print(f"{what:<56} {1e6 * seconds / count:10.1f} µs a point  ({count:,} points, {seconds:.2f} s)", flush=True)


def measure(build: str, count: int) -> None:
    """Measure every step with the points of a build."""
    axes = {"build": build, "board": "custom_a7,nexys_video", "ddr_speed": "1..3.45:0.05", "clock_mhz": "50..450:50",
            "ddr_capacity": f"1M..1G/{max(2, count // 900)}"}
    study = make_study(axes)
    specifier = Specifier()
    began = time.process_time()
    points = specifier.points(study)
    told("making points, checks included", len(points), time.process_time() - began)
    with tempfile.TemporaryDirectory() as folder:
        lines = run_some(points, specifier)
        copies = many_lines(lines, points)
        began = time.process_time()
        store = Store(folder)
        for first in range(0, len(copies), 500):
            store.add(copies[first : first + 500])
        told(f"storing records of {len(lines[0]):,} bytes, 500 in a file", len(copies), time.process_time() - began)
        began = time.process_time()
        store = Store(folder)
        told("opening the store again", len(copies), time.process_time() - began)
        began = time.process_time()
        csv_bytes(collect(points, store, list(study.axes), study.varying))
        told("collecting rows and writing CSV", len(points), time.process_time() - began)
    schedule(count)


def run_some(points, specifier):
    """Run points whose memories differ, then the same once more, when they are known; returns their records."""
    workshop = Workshop(specifier.snapshots)
    by_memory = {}
    for point in points:
        by_memory.setdefault((point.values["ddr_speed"], point.values["clock_mhz"]), point)
    some = list(islice(by_memory.values(), TIMED))
    workshop.run(some[0].id, some[0].specification)
    for what in ("running a point, its memory new", "running a point, its memory known"):
        began = time.process_time()
        lines = [workshop.run(point.id, point.specification).line for point in some[1:]]
        told(what, len(some) - 1, time.process_time() - began)
    workshop.close()
    return lines


def many_lines(lines, points):
    """Records of all points, as large as those that were made."""
    record = decode(lines[0])
    assert record is not None
    return [encode(Record(id=point.id, emulator=record.emulator, specification=point.specification,
                          result=record.result, versions=record.versions)) for point in points]


def empty_batch(name, points):
    """Stand in for a batch that runs: a record a point, without a run."""
    return [(identity, failure_record(identity, {}, "empty"), 1e-6, False) for identity, _ in points]


def schedule(count):
    """Hand points that do nothing to two workers: in batches as they are sized, and one at a time."""
    for what, number, alone in (("scheduling empty points in batches", count, False),
                                ("scheduling empty points one at a time", count // 50, True)):
        points = [Point(f"{n:032x}", {}, {"program": {}, "run": {}}, "g") for n in range(number)]
        with open_cluster(EngineOptions(workers=2), 2, {}, None, print) as engine:
            engine.call = empty_batch
            waiting = Batches(() if alone else points)
            if alone:
                waiting.again_alone(points)
            began, busy = time.perf_counter(), time.process_time()
            done = sum(len(outcomes) for outcomes in engine.outcomes(waiting))
            assert done == number
            told(what, number, time.process_time() - busy)
            told("  the same, wall clock", number, time.perf_counter() - began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", help="a build directory")
    parser.add_argument("--points", type=int, default=100_000, help="empty points to schedule (default: 100000)")
    arguments = parser.parse_args()
    measure(arguments.build, arguments.points)
