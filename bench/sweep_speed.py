"""How many points a second does a sweep run against a plain loop over `plena_emu.run`, and what does a point cost?

    python bench/sweep_speed.py [--points 2000] [--rounds 3] [--workers 2] [--studies memories,compiled]

In each round all points run as a sweep, then a share of them in a loop; the figures are medians over the rounds. A
sweep's time is all of it: making points, starting workers, collecting rows. CPU time has the same parts apart. By CPU
time alone no sweep on W workers can be faster than W x loop / (main + scheduler + workers).
"""

from __future__ import annotations

import argparse
import contextlib
import lzma
import os
import pathlib
import resource
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import plena_emu
from plena_emu.models.compiler import compile as compile_model
from plena_emu.sweeping.engine import Watcher

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "tests/golden/manifests/base_clm60m_dec_L1_m256b64_a7"
TINY = {"model": "tiny", "preset": ["m16b4", "m64b16"], "board": "custom_a7"}


class Sample(NamedTuple):
    """Seconds a point: wall clock, and CPU time of this thread, of the others (scheduler) and of the workers."""

    wall: float
    main: float
    scheduler: float = 0.0
    workers: float = 0.0

    @property
    def cpu(self) -> float:
        return self.main + self.scheduler + self.workers


class Threads(Watcher):
    """Knows what the threads of this process beside the main one have used, also when they have ended."""

    def __init__(self):
        self._used: dict[int, float] = {}

    def done(self, points, failures):
        for thread in threading.enumerate():
            if thread is not threading.main_thread() and thread.ident:
                with contextlib.suppress(OSError):
                    self._used[thread.ident] = time.clock_gettime(time.pthread_getcpuclockid(thread.ident))

    @property
    def seconds(self) -> float:
        return sum(self._used.values())


def unpacked(folder: str) -> str:
    """Lay a golden build of one layer of clm60m out, 156,543 instructions; returns its path."""
    build = os.path.join(folder, "clm60m")
    shutil.copytree(GOLDEN, build, ignore=shutil.ignore_patterns("weight_manifest*", "*.xz"))
    packed = GOLDEN / "generated_machine_code.mem.xz"
    pathlib.Path(build, packed.stem).write_bytes(lzma.decompress(packed.read_bytes()))
    return build


def memories(points: int, folder: str) -> tuple[dict, Callable[[dict], Any]]:
    """One program over boards, memory speeds, clocks and capacities: many of the memories take equal times."""
    build = unpacked(folder)
    axes = {"build": build, "board": ["custom_a7", "nexys_video"], "ddr_speed": "1..1.4:0.1", "clock_mhz": [100, 150],
            "host_bandwidth": "100M..800M", "ddr_capacity": f"2M..1G/{max(2, points // 80)}"}
    return axes, lambda values: run(values["build"], values)


def distinct(points: int, folder: str) -> tuple[dict, Callable[[dict], Any]]:
    """One program over memory speeds and clocks: no two memories are alike."""
    build = unpacked(folder)
    axes = {"build": build, "board": "custom_a7", "ddr_speed": f"1..3/{max(2, points // 10)}",
            "clock_mhz": "100..190:10"}
    return axes, lambda values: run(values["build"], values)


def compiled(points: int, folder: str) -> tuple[dict, Callable[[dict], Any]]:
    """A model for many lengths and two geometries: a program each, which is compiled."""
    axes = TINY | {"prefill": f"8..{7 + max(1, points // 2)}"}

    def compile_and_run(values):
        with tempfile.TemporaryDirectory() as place:
            build = os.path.join(place, "build")
            compile_model(values["model"], build, weights="none", preset=values["preset"], prefill=values["prefill"])
            run(build, values)

    return axes, compile_and_run


def built(points: int, folder: str) -> tuple[dict, Callable[[dict], Any]]:
    """The same, compiled before: nothing but the runs."""
    builds = []
    for prefill in range(8, 8 + max(1, points // 2)):
        for preset in TINY["preset"]:
            builds.append(os.path.join(folder, f"{preset}-{prefill}"))
            compile_model("tiny", builds[-1], weights="none", preset=preset, prefill=prefill)
    return {"build": builds, "board": "custom_a7"}, lambda values: run(values["build"], values)


STUDIES = {study.__name__: study for study in (memories, distinct, compiled, built)}


def run(build, values):
    """Run a point as a loop of one's own does."""
    fields = {key: value for key, value in values.items() if key not in ("build", "model", "preset", "prefill")}
    plena_emu.run(build, timing_only=True, stages=False, memory_model="auto", **fields)


def time_loop(call, points) -> Sample:
    """Run points one after the other."""
    began, busy = time.perf_counter(), time.process_time()
    for values in points:
        call(values)
    return Sample((time.perf_counter() - began) / len(points), (time.process_time() - busy) / len(points))


def time_sweep(axes, workers) -> tuple[Sample, list[dict]]:
    """Run points as a sweep; also returns the values of each."""
    threads = Threads()
    began, busy, children = time.perf_counter(), time.process_time(), _children()
    result = plena_emu.sweep(axes={**axes, "memory_model": "auto"}, workers=workers, watcher=threads)
    wall, cpu = time.perf_counter() - began, time.process_time() - busy
    assert not result.failures, result.failures[0].failure
    count = len(result)
    sample = Sample(wall / count, (cpu - threads.seconds) / count, threads.seconds / count,
                    (_children() - children) / count)
    return sample, [{key: value for key, value in row.values.items() if key != "memory_model"} for row in result]


def _children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(name: str, points: int, rounds: int, workers: int) -> None:
    """Measure a study and print a line for each side."""
    with tempfile.TemporaryDirectory() as folder:
        axes, call = STUDIES[name](points, folder)
        _, rows = time_sweep({key: _first(value) for key, value in axes.items()}, 0)  # kernels are loaded
        call(rows[0])
        loops, sweeps = [], []
        for number in range(rounds):
            sweep, rows = time_sweep(axes, workers)
            sweeps.append(sweep)
            loops.append(time_loop(call, rows[number::max(rounds, len(rows) // (points // rounds or 1))]))
    wall = statistics.median(loop.wall / sweep.wall for loop, sweep in zip(loops, sweeps, strict=True))
    bound = statistics.median(workers * loop.cpu / sweep.cpu for loop, sweep in zip(loops, sweeps, strict=True))
    loop, sweep = (Sample(*map(statistics.median, zip(*found, strict=True))) for found in (loops, sweeps))
    print(f"{name:<10}{len(rows):>6} points  {1 / sweep.wall:8.1f}/s, loop {1 / loop.wall:8.1f}/s: {wall:5.2f} x"
          f"  (by CPU time at most {bound:.2f} x)", flush=True)
    print(f"{'':<10}CPU ms a point: loop {1e3 * loop.main:.2f}; sweep main {1e3 * sweep.main:.2f}, scheduler"
          f" {1e3 * sweep.scheduler:.2f}, workers {1e3 * sweep.workers:.2f}", flush=True)


def _first(value):
    return value[:1] if isinstance(value, list) else value.partition("..")[0] if isinstance(value, str) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=2000, help="points of each study, about (default: 2000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of loop and sweep (default: 3)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--studies", default=",".join(STUDIES), help="which (default: all)")
    arguments = parser.parse_args()
    for name in arguments.studies.split(","):
        measure(name, arguments.points, arguments.rounds, arguments.workers)


if __name__ == "__main__":
    main()
