"""Runs a benchmark: whole processes first, while this one is still small, then runs within this process.

Every run is checked: no figure is made of a program that computed something else.
"""

import contextlib
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from ..errors import DataNeeded, EmuError
from ..request import RunRequest
from .programs import Expected, ExpectedRun, Workload
from .record import BUSY, KERNEL_MODES, PHASES, PROCESS, BenchRecord, figure, means, now, this_machine
from .side_by_side import compared, in_turns

EXECUTABLE = "transactional_emulator"
LATENCY = re.compile(r"Simulation completed\. Latency (\d+)\.(\d{3})ns")
STATISTICS = re.compile(r"HBM Statistics - .*(?:\n(?!\d{4}-).*)?")  # the model's own line has no time stamp
SIDE_BY_SIDE = "side by side"
DUMPS = "bench_dumps"  # in the scratch directory
USER_CHOICES = ("PLENA_SETTINGS_TOML", "RUST_LOG", "PLENA_ISA")  # variables that must not reach a measured process


def run_suite(
    workloads: list[Workload], models: list[str], modes: list[str], runs: int, notes: list[str],
    request_of: Callable[..., RunRequest], progress: Callable[[str], None] = lambda text: None,
    reference: str | None = None,
) -> BenchRecord:
    """Measure every workload on every model in every mode, `runs` times after a run that does not count.

    Parameters
    ----------
    request_of : callable
        `request_of(args, isa, **fields)`: the `RunRequest` of the arguments of the drop-in, with `fields` replaced.
    progress : callable
        Called with what is measured next.
    reference : str, optional
        Another executable with the drop-in's interface, which is timed on the same programs in turns.

    Returns
    -------
    BenchRecord

    Raises
    ------
    EmuError
        A run failed, or its latency, statistics or instruction count is not the expected one.
    """
    machine, started = this_machine(), now()
    busy = []
    if machine.load_average[0] > BUSY:
        busy = [f"the machine was busy before the first run: load average {machine.load_average[0]:.1f}"]
    suite = _Suite(models, runs, request_of, progress)
    if PROCESS in modes:
        executable = find_executable()
        for workload in workloads:
            suite.measure(workload, {PROCESS: lambda case: suite.processes(case, executable)})
    if reference is not None:
        pair = find_executable(), reference
        for workload in workloads:
            suite.measure(workload, {SIDE_BY_SIDE: lambda case: suite.two_executables(case, pair)})
    in_process = {mode: lambda case, mode=mode: suite.runs_here(case, mode) for mode in KERNEL_MODES if mode in modes}
    if in_process:
        from ..running.freed_memory import keep_freed_memory

        keep_freed_memory()
        for workload in workloads:
            suite.measure(workload, in_process)
    notes = [*notes, *suite.notes()]
    if not suite.figures and not suite.side_by_side:
        raise EmuError(f"nothing was measured: {'; '.join(notes)}")
    kernel = [found for found in suite.figures if found.mode != PROCESS]
    process = [found for found in suite.figures if found.mode == PROCESS]
    return BenchRecord(started=started, machine=machine, runs=runs, kernel=kernel, process=process,
                       means=means(kernel + process), notes=notes + busy, reference=reference,
                       side_by_side=suite.side_by_side)


def find_executable() -> str:
    """Find the drop-in executable of this installation, else the first one on the path.

    Returns
    -------
    str
    """
    own = pathlib.Path(sys.executable).with_name(EXECUTABLE)
    found = str(own) if own.exists() else shutil.which(EXECUTABLE)
    if found is None:
        raise EmuError(f"{EXECUTABLE} found neither beside {sys.executable} nor on the path: install the project")
    return found


class _Case:
    """A program on a model: what to run and what must come out of every run."""

    def __init__(self, workload: Workload, expected: Expected, run: ExpectedRun, model: str):
        self.workload = workload
        self.expected = expected
        self.run = run
        self.model = model

    def check(self, mode, latency_ps, statistics, instructions=None):
        """Raise `EmuError` unless a run did what is expected; what is not known yet is expected from then on."""
        expected, run = self.expected, self.run
        rows = [("latency_ps", latency_ps, run.latency_ps), ("statistics", statistics, run.statistics)]
        if instructions is not None:
            rows.append(("instructions", instructions, expected.dynamic_instructions))
            expected.dynamic_instructions = instructions if rows[-1][2] is None else rows[-1][2]
        for what, found, wanted in rows:
            if wanted is not None and found != wanted:
                raise EmuError(f"{self.workload.name} on {self.model}, {mode}: {what} {found!r}, expected {wanted!r}")
        run.latency_ps = latency_ps

    def check_output(self, mode, output):
        """Check what a process wrote, as `check` does."""
        latency, statistics = LATENCY.search(output), STATISTICS.search(output)
        if latency is None or statistics is None:
            last = output.strip().rpartition("\n")[2]
            raise EmuError(f"{self.workload.name} on {self.model}, {mode}: no latency or statistics, {last!r}")
        self.check(mode, int(latency[1] + latency[2]), statistics[0])

    def figure(self, mode, wall, reference_s, **more):
        """Make the figure of checked runs."""
        return figure(
            program=self.workload.name, golden=self.workload.golden, isa=self.expected.isa, model=self.model, mode=mode,
            latency_ps=self.run.latency_ps, instructions=self.expected.dynamic_instructions, wall=wall,
            reference_s=reference_s, **more,
        )


class _Suite:
    """The figures so far."""

    def __init__(self, models, runs, request_of, progress):
        self.models = models
        self.runs = runs
        self.request_of = request_of
        self.progress = progress
        self.figures = []
        self.side_by_side = []
        self.left_out = {}  # programs by reason, each once
        self.latencies = {}  # by program and model: they must agree also where no golden says so

    def notes(self):
        """List what was not measured, one line a reason."""
        return [f"{reason}: {', '.join(names)}" for reason, names in self.left_out.items()]

    def _leave_out(self, workload, reason):
        self.left_out.setdefault(reason, {})[workload.name] = None

    def measure(self, workload, measures):
        """Add the figures of one program: for each model, `measures` by mode."""
        with workload.unpacked() as (directory, expected), contextlib.chdir(directory):
            for model in self.models:
                run = expected.run(model)
                if run is None:
                    self._leave_out(workload, f"no run on {model}")
                    continue
                run.latency_ps = self.latencies.get((workload.name, model), run.latency_ps)
                for mode, measure in measures.items():
                    self.progress(f"{workload.name} {model} {mode}")
                    try:
                        figure = measure(_Case(workload, expected, run, model))
                        (self.side_by_side if mode == SIDE_BY_SIDE else self.figures).append(figure)
                    except DataNeeded:
                        self._leave_out(workload, f"not in {mode} mode, as timing can depend on data")
                if run.latency_ps is not None:
                    self.latencies[workload.name, model] = run.latency_ps

    def processes(self, case, executable):
        """Measure whole processes, in the working directory."""
        samples, peaks = [], []
        for repetition in range(self.runs + 1):
            seconds, peak, output = run_process([executable, *case.run.args], case.expected.isa)
            case.check_output(PROCESS, output)
            if repetition:
                samples.append(seconds)
                peaks.append(peak)
        walls = case.workload.walls
        return case.figure(PROCESS, {PROCESS: samples}, walls and walls.process_s(case.model),
                           peak_memory_bytes=None if None in peaks else max(peaks))

    def two_executables(self, case, executables):
        """Measure whole processes of two executables in turns, in the working directory."""
        own, reference = in_turns(
            lambda command: run_process(command, case.expected.isa),
            lambda command, output: case.check_output(os.path.basename(command), output),
            executables, case.run.args, self.runs,
        )
        return compared(case.workload.name, case.model, own, reference, case.expected.dynamic_instructions)

    def runs_here(self, case, mode):
        """Measure runs within this process, in the working directory."""
        wall = {phase: [] for phase in PHASES}
        for repetition in range(self.runs + 1):
            result = _execute(case, mode, self.request_of)
            _check_result(case, mode, result)
            if repetition:
                for phase in PHASES:
                    wall[phase].append(getattr(result.wall, f"{phase}_s"))
        walls = case.workload.walls
        return case.figure(mode, wall, walls and walls.simulate_s(case.model))


def _execute(case, mode, request_of):
    """Run a case once as the drop-in would do it, dumps and all; without dumps in timing-only mode."""
    from ..logs import Log
    from ..precompile import kernels_of, make_ready

    data = mode != "timing-only"
    request = request_of(case.run.args, case.expected.isa, timing_only=not data, dump_hbm=data,
                         dump_dir=DUMPS if data else None)
    make_ready(kernels_of(request))
    from ..running.runner import execute

    os.makedirs(DUMPS, exist_ok=True)
    try:
        return execute(request, Log("off"))
    finally:
        shutil.rmtree(DUMPS, ignore_errors=True)


def _check_result(case, mode, result):
    from ..result import hbm_statistics

    if result.dump_errors:
        raise EmuError(f"{case.workload.name} on {case.model}, {mode}: {result.dump_errors[0]}")
    case.check(mode, result.latency_ps, hbm_statistics(result), result.instructions)


def run_process(command: list[str], isa: str) -> tuple[float, int | None, str]:
    """Run the drop-in in the working directory, then delete its dumps.

    The peak is None where it cannot be told from that of this process, which a child process inherits at its start.

    Returns
    -------
    (float, int or None, str)
        Seconds, peak memory in bytes, output.
    """
    environment = {key: value for key, value in os.environ.items() if key not in USER_CHOICES} | {"PLENA_ISA": isa}
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    for dump in pathlib.Path().glob("*_dump.bin"):
        dump.unlink()
    if process.returncode:
        last = text.strip().rpartition("\n")[2]
        raise EmuError(f"{' '.join(command)}: exit status {process.returncode}: {last}")
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return seconds, usage.ru_maxrss * 1024 if usage.ru_maxrss > own else None, text
