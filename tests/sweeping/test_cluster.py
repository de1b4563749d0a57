"""Do worker processes find what one process finds, byte for byte, whoever dies? Real processes, real signals."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from sweep_studies import LINEAR, Told, lines_of, points_of, unpacked_clm

from plena_emu.errors import EmuError
from plena_emu.sweeping.engine import EngineOptions
from plena_emu.sweeping.execution import run_points
from plena_emu.sweeping.store import Store

pytest.importorskip("distributed", reason="the extra `sweep`")
psutil = pytest.importorskip("psutil")

pytestmark = pytest.mark.filterwarnings("default")  # of Dask and its libraries
TWO = EngineOptions(workers=2)
CODE = "import sys; from plena_emu.cli.entry import plena_emu; sys.exit(plena_emu())"
COMMAND = [sys.executable, "-c", CODE, "sweep"]
# Small points of three programs; their times differ.
MIXED = {"model": "tiny", "layers": 1, "prefill": "3,9", "preset": "m16b4,m64b16", "board": "custom_a7",
         "ddr_capacity": "16K..1M", "clock_mhz": "100,150"}
AXES = ["--axis", "layers=1", "--model", "tiny", "--prefill", "3,9", "--preset", "m16b4,m64b16", "--board", "custom_a7",
        "--clock-mhz", "100,150"]
MANY = [*AXES, "--ddr-capacity", "16K..1M/30"]


def programs(folder):
    """Processes that keep local workers below `folder`, which is their TMPDIR."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "distributed.cli.dask_worker" in (process.info["cmdline"] or []):
            with contextlib.suppress(psutil.Error):
                if process.environ().get("TMPDIR", "").startswith(str(folder)):
                    found.append(process)
    return found


def workers(folder):
    """Worker processes, without the resource tracker beside them."""
    return [child for program in programs(folder) for child in program.children()
            if any("spawn_main" in word for word in child.cmdline())]


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """A directory for temporary files, by which processes of a test are told from others; none may be left."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    until = time.monotonic() + 30
    while programs(folder) and time.monotonic() < until:
        time.sleep(0.1)
    assert programs(folder) == []


class Killer(Told):
    """Kills a worker when the first points are done."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.victim = folder, None

    def done(self, points, failures):
        super().done(points, failures)
        if self.victim is None:
            self.victim = workers(self.folder)[0]
            self.victim.kill()


def start(arguments, folder, **more):
    """A sweep as a process of its own, as a terminal starts it."""
    environment = os.environ | {"TMPDIR": str(folder)}
    return subprocess.Popen([*COMMAND, *arguments], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **more)


def wait_for(condition, process):
    until = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def stored(folder):
    return len(Store(str(folder)))


@contextlib.contextmanager
def no_longer_than(seconds):
    """Fail where what is inside hangs."""
    def fail(number, frame):
        raise AssertionError(f"hangs for {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The CSV of `MANY` in one process, without a store."""
    folder = tmp_path_factory.mktemp("serial")
    done = subprocess.run([*COMMAND, *MANY, "--workers", "0", "--quiet", "--csv", "serial.csv"], cwd=folder,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (folder / "serial.csv").read_bytes()


def test_two_workers_find_what_one_process_finds(scratch):
    points, specifier = points_of(**MIXED)
    told = Told()
    assert lines_of(points, specifier, TWO, watcher=told) == lines_of(points, specifier)
    assert told.count == len(points) == 56 and told.places == ["on 2 workers"] and told.lines == []


def test_a_worker_that_is_killed_is_survived_and_told(scratch, tmp_path):
    points, specifier = points_of(**MIXED | {"ddr_capacity": "16K..1M/30"})
    told = Killer(scratch)
    store = Store(str(tmp_path / "store"))
    assert lines_of(points, specifier, TWO, store=store, watcher=told) == lines_of(points, specifier)
    assert not told.victim.is_running() or told.victim.status() == psutil.STATUS_ZOMBIE
    assert told.count == len(points)
    assert told.lines == [] or re.match(r"worker tcp://\S+ died with ", told.lines[0])


def test_a_point_that_three_workers_die_of_is_a_failure(scratch, tmp_path, monkeypatch):
    """One point is killed, one takes more memory than a worker may; every other has its result.

    What makes them do it comes into worker processes alone, as their `sitecustomize`.
    """
    points, specifier = points_of(build=LINEAR, memory_model="resident,weight-stream", host_bandwidth="1M..8M")
    killed, greedy = points[5], points[6]
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(f"""
        import os, sys, time
        if "spawn_main" in " ".join(sys.orig_argv):
            import plena_emu.sweeping.worker as worker
            run = worker.Workshop.run
            def dying(self, identity, specification):
                if identity in ({killed.id!r}, {greedy.id!r}):
                    open({str(tmp_path)!r} + "/" + identity, "a").write("x")
                if identity == {killed.id!r}:
                    os.kill(os.getpid(), 9)
                if identity == {greedy.id!r}:
                    held = b"x" * 10**9
                    time.sleep(60)
                return run(self, identity, specification)
            worker.Workshop.run = dying
    """))
    monkeypatch.syspath_prepend(str(tmp_path))
    told = Told()
    found = lines_of(points, specifier, EngineOptions(workers=2, memory_limit=700_000_000), watcher=told)
    expected = lines_of(points, specifier)
    for point in (killed, greedy):
        assert (tmp_path / point.id).read_text() == "xxx"
        dead = found.pop(point.id)
        assert dead.failure.kind == "died" and dead.failure.message.startswith("3 workers died")
        del expected[point.id]
    assert found == expected and told.count == 8 and told.failed == 2
    assert len([line for line in told.lines if line.endswith("it is a failure")]) == 2


@pytest.fixture
def cluster(scratch):
    """A scheduler and a worker that run already: (address, scheduler, worker)."""
    file = scratch / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": os.environ | {"TMPDIR": str(scratch)}}
    python = [sys.executable, "-m"]
    scheduler = subprocess.Popen([*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
                                  "--no-dashboard", "--scheduler-file", str(file)], **quiet)
    worker = subprocess.Popen([*python, "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nworkers", "1",
                               "--nthreads", "1", "--no-dashboard", "--death-timeout", "10"], **quiet)
    wait_for(lambda: file.exists() and file.stat().st_size, scheduler)
    address = re.search(r'"address": "(\S+?)"', file.read_text())[1]
    yield address, scheduler, worker
    for process in (scheduler, worker):
        process.kill()
        process.wait()


@pytest.mark.parametrize("moment", ["it runs a batch", "it has nothing to do", "its result is fetched"])
def test_the_only_worker_of_a_running_cluster_dies(moment, cluster, tmp_path, monkeypatch):
    """Its successor, which has another address, runs what is left; the death is told."""
    address, _, worker = cluster
    points, specifier = points_of(**MIXED)
    mark = str(tmp_path / "died")
    at = moment.split()[1]

    def dying(name, task):  # goes to workers by value
        import os

        from plena_emu.sweeping.cluster_worker import run_batch

        def die():
            open(mark, "x").close()
            os.kill(os.getpid(), 9)

        class Deadly:
            def __reduce__(self):
                die()

        if len(task) > 1 and not os.path.exists(mark):
            if at == "runs":
                die()
            if at == "result":
                return Deadly()
        return run_batch(name, task)

    class Watching(Told):
        def done(self, points, failures):
            super().done(points, failures)
            if at == "has" and not os.path.exists(mark):
                open(mark, "x").close()
                [victim] = [child for child in psutil.Process(worker.pid).children()
                            if any("spawn_main" in word for word in child.cmdline())]
                victim.kill()

    monkeypatch.setattr("plena_emu.sweeping.cluster.ClusterEngine.call", staticmethod(dying))
    told = Watching()
    with no_longer_than(120):
        found = lines_of(points, specifier, EngineOptions(scheduler=address), watcher=told)
    assert os.path.exists(mark) and found == lines_of(points, specifier)
    assert told.count == len(points) and told.failed == 0
    assert len(told.lines) == 1 or (at == "has" and told.lines == [])  # where it was missed before it got a batch
    assert all(re.match(r"worker tcp://\S+ died with .* again", line) for line in told.lines), told.lines


def test_what_is_finished_is_stored_while_the_next_batch_runs(cluster, tmp_path, monkeypatch):
    """The third batch waits until the second is in the store (the first is written at once)."""
    address, _, _ = cluster
    points, specifier = points_of(**MIXED)
    records, batches, late = (str(tmp_path / name) for name in ("store/records", "batches", "late"))

    def waiting(name, task):  # goes to workers by value
        import os
        import time

        from plena_emu.sweeping.cluster_worker import run_batch

        with open(batches, "a") as file:
            file.write("x")
        until = time.monotonic() + 20
        while os.path.getsize(batches) == 3 and len(os.listdir(records)) < 2:
            if time.monotonic() > until:
                open(late, "x").close()
                break
            time.sleep(0.1)
        return run_batch(name, task)

    monkeypatch.setattr("plena_emu.sweeping.cluster.ClusterEngine.call", staticmethod(waiting))
    store = Store(str(tmp_path / "store"))
    assert lines_of(points, specifier, EngineOptions(scheduler=address), store=store) == lines_of(points, specifier)
    assert os.path.getsize(batches) >= 3 and not os.path.exists(late)


def test_a_scheduler_that_is_killed_ends_the_sweep_and_the_store_goes_on(cluster, tmp_path, scratch, serial):
    address, scheduler, worker = cluster
    store = tmp_path / "store"
    sweep = start([*MANY, "--scheduler", address, "--store", str(store)], tmp_path)
    wait_for(lambda: store.exists() and stored(store), sweep)
    scheduler.kill()
    out, error = sweep.communicate(timeout=90)
    assert sweep.returncode == 101 and out == "", error
    assert error.splitlines()[-1].startswith("plena-emu sweep: error: the scheduler is gone"), error
    assert "Traceback" not in error
    kept = stored(store)
    again = subprocess.run([*COMMAND, *MANY, "--workers", "0", "--store", str(store), "--resume", "--csv", "r.csv"],
                           cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and f"240 points, {kept} of them stored already" in again.stderr, again.stderr
    assert (tmp_path / "r.csv").read_bytes() == serial


def test_a_scheduler_that_does_not_answer():
    points, specifier = points_of(build=LINEAR, memory_model="resident")
    with pytest.raises(EmuError, match="scheduler tcp://127.0.0.1:1: does not answer"):
        run_points(points, specifier, EngineOptions(scheduler="tcp://127.0.0.1:1"), Store(None), Told())


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_keeps_what_is_done(workers, tmp_path, scratch, serial):
    store = tmp_path / "store"
    sweep = start([*MANY, "--workers", str(workers), "--store", str(store)], scratch, start_new_session=True)
    wait_for(lambda: store.exists() and stored(store), sweep)
    os.killpg(sweep.pid, signal.SIGINT)  # as a terminal does, to all of them
    out, error = sweep.communicate(timeout=60)
    assert sweep.returncode == 130 and out == "", error
    found = re.fullmatch(r"plena-emu sweep: error: interrupted: (\d+) of 240 points are stored: the same command goes"
                         r" on", error.splitlines()[-1])
    assert found and "Traceback" not in error and int(found[1]) == stored(store)
    again = subprocess.run([*COMMAND, *MANY, "--workers", "0", "--store", str(store), "--csv", "r.csv"], cwd=tmp_path,
                           capture_output=True, text=True)
    assert again.returncode == 0 and f"{found[1]} of them stored already" in again.stderr
    assert (tmp_path / "r.csv").read_bytes() == serial


@pytest.mark.parametrize("number, word, status", [
    (signal.SIGTERM, "ended by SIGTERM", 143), (signal.SIGHUP, "ended by SIGHUP", 129),
    (signal.SIGINT, "interrupted", 130),
])
def test_a_signal_while_workers_start_is_one_line_and_nothing_is_left(number, word, status, tmp_path, scratch):
    sweep = start([*MANY, "--workers", "2", "--store", str(tmp_path / "store")], scratch, start_new_session=True)
    wait_for(lambda: programs(scratch), sweep)
    sweep.send_signal(number)
    out, error = sweep.communicate(timeout=60)
    assert sweep.returncode == status and out == ""
    assert error.splitlines() == ["240 points", f"plena-emu sweep: error: {word}: 0 of 240 points are stored: the same"
                                                " command goes on"]
    assert programs(scratch) == [] and os.listdir(scratch) == []


@pytest.mark.parametrize("are_there", [False, True])
def test_workers_end_with_a_sweep_that_is_killed(are_there, tmp_path, scratch):
    """Their files as well; also while they start, when they do not look for the scheduler yet."""
    sweep = start([*MANY, "--workers", "2"], scratch, start_new_session=True)
    wait_for(lambda: workers(scratch) if are_there else programs(scratch), sweep)
    sweep.kill()
    sweep.communicate()
    until = time.monotonic() + 3  # far less than workers take to find out by themselves
    while (programs(scratch) or os.listdir(scratch)) and time.monotonic() < until:
        time.sleep(0.02)
    assert programs(scratch) == [] and os.listdir(scratch) == []


def test_a_sweep_that_is_killed_resumes(tmp_path, scratch, serial):
    store = tmp_path / "store"
    sweep = start([*MANY, "--workers", "2", "--store", str(store)], scratch, start_new_session=True)
    wait_for(lambda: store.exists() and stored(store), sweep)
    sweep.kill()
    sweep.communicate()
    kept = stored(store)
    again = subprocess.run([*COMMAND, *MANY, "--workers", "0", "--store", str(store), "--resume", "--csv", "r.csv"],
                           cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and f"{kept} of them stored already" in again.stderr
    assert (tmp_path / "r.csv").read_bytes() == serial


def test_two_sweeps_share_a_store(tmp_path, scratch, serial):
    """Both at once; each has every row, and the store has each point."""
    store = str(tmp_path / "store")
    both = [start([*MANY, "--workers", "0", "--store", store, "--csv", str(tmp_path / f"{n}.csv")], scratch)
            for n in (1, 2)]
    for sweep in both:
        out, error = sweep.communicate(timeout=120)
        assert sweep.returncode == 0 and "damaged" not in error, error
    assert (tmp_path / "1.csv").read_bytes() == serial == (tmp_path / "2.csv").read_bytes()
    assert stored(store) == 240


def test_a_full_disk_ends_the_sweep_in_one_line_and_the_store_is_whole(tmp_path, scratch):
    """A limit on the size of files is a disk that is full: the write fails in the middle."""
    build = LINEAR
    axes = [build, "--memory-model", "weight-stream", "--host-bandwidth", "1M..1G/40", "--workers", "0", "--store",
            str(tmp_path / "store")]
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # noqa: E731
    full = subprocess.run([*COMMAND, *axes], cwd=tmp_path, capture_output=True, text=True, preexec_fn=small)
    assert full.returncode == 101, full.stderr
    assert re.search(r"^plena-emu sweep: error: store \S+: cannot write: File too large$", full.stderr, re.M)
    told = Told()
    assert "Traceback" not in full.stderr and len(Store(str(tmp_path / "store"), told.said)) == 1 and told.lines == []
    assert len(os.listdir(tmp_path / "store" / "records")) == 1  # the first record, which was written alone
    again = subprocess.run([*COMMAND, *axes], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and stored(tmp_path / "store") == 40


def test_the_first_points_decide_whether_workers_are_worth_it(scratch, tmp_path, monkeypatch):
    """A small study stays in the process; with a limit of no time the rest goes to workers."""
    points, specifier = points_of(build=unpacked_clm(tmp_path), board="custom_a7", clock_mhz="100..110")
    expected = lines_of(points, specifier)
    told = Told()
    monkeypatch.setattr("plena_emu.sweeping.execution.SMALL_SWEEP_S", 0.0)
    found = lines_of(points, specifier, EngineOptions(), watcher=told)
    assert found == expected and told.count == 11
    assert told.places == (["in this process", "on 2 workers"] if len(os.sched_getaffinity(0)) == 2 else told.places)


@pytest.mark.parametrize("address, message", [("foo", "missing port number"), ("tcp://127.0.0.1:1", "Timed out")])
def test_a_scheduler_that_does_not_answer_is_one_line(address, message, scratch):
    """Nothing of Dask's own, also not where Python collects the client that never started."""
    done = subprocess.run([*COMMAND, LINEAR, "--memory-model", "resident", "--scheduler", address], capture_output=True,
                          text=True)
    points, line = done.stderr.splitlines()
    assert points == "1 point" and done.returncode == 101 and done.stdout == ""
    assert line.startswith(f"plena-emu sweep: error: scheduler {address}: does not answer: ") and message in line
