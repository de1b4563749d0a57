"""The engine on worker processes: a local cluster, or one that runs already (Dask's distributed, the extra `sweep`).

The scheduler never binds, because points travel in batches, each for one worker that has nothing else to do
(docs/scale.md). A worker that dies takes its batch with it: its points run again alone, and a point that three workers
died with is a failure. Dask may not tell of a death: a cluster that was started by others gives the batch to another
worker, and where there was none, forgets it when one comes. So we look for workers that are gone ourselves.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import queue
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import EmuError
from . import guard
from .batches import Batches
from .cluster_worker import WorkshopPlugin, run_batch
from .fingerprint import emulator_fingerprint
from .machine_errors import MachineError
from .points import Point
from .records import failure_record
from .snapshots import Snapshot
from .worker import Outcome

if TYPE_CHECKING:
    from .engine import EngineOptions

MOST_DEATHS = 3  # of workers that ran a point, until the point is what kills them
CONNECT_S = 5
START_S = 120  # until worker processes of our own must have started
DEATH_TIMEOUT_S = 30  # a worker that finds no scheduler for so long ends
LOOK_EACH_S = 1.0  # for workers that came or went
FETCH_S = (1, 2, 4, 8, 16, 32)  # tries to get a result; after each we look whether its worker is still there
SILENCE_S = 15  # until a cluster without workers is told
# Of the scheduler and the workers of our own cluster.
_CONFIG = {
    "distributed.scheduler.allowed-failures": 0,  # deaths are counted here, point by point
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.memory.target": False,  # nothing is worth spilling; what needs more memory is ended
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.comm.timeouts.connect": f"{CONNECT_S}s",
}


class _Batch(NamedTuple):
    """A batch under way."""

    worker: str
    points: list[Point]


@contextlib.contextmanager
def open_cluster(options: EngineOptions, most: int, snapshots: Mapping[str, Snapshot], builds: str | None,
                 say: Callable[[str], None]) -> Iterator[ClusterEngine]:
    """Open the engine on a cluster, as a context; a local one ends with it.

    Parameters
    ----------
    most : int
        Worker processes of our own that have something to do: no more are started.
    builds : str or None
        Directory for compiled models, for a local cluster.
    say : callable
        Told of workers that died.

    Raises
    ------
    EmuError
        The extra is not installed, the scheduler does not answer, or the cluster cannot start.
    """
    if importlib.util.find_spec("distributed") is None:
        raise EmuError("worker processes need distributed, which is not installed: pip install distributed (the extra"
                       " `sweep`)")
    import dask
    import distributed

    _quieten()
    with dask.config.set(_CONFIG), contextlib.ExitStack() as opened:
        if options.scheduler is not None:
            client = _connect(distributed, options.scheduler)
            opened.callback(_close, client)
            own = None
        else:
            folder = opened.enter_context(
                tempfile.TemporaryDirectory(prefix="plena-workers-", ignore_cleanup_errors=True))
            opened.enter_context(dask.config.set({"temporary-directory": folder}))
            scheduler = distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0",
                                                 silence_logs=logging.CRITICAL, protocol="tcp://", host="127.0.0.1")
            opened.callback(_close, scheduler)
            client = distributed.Client(scheduler, set_as_default=False)
            opened.callback(_close, client)
            count = min(most, options.workers or len(os.sched_getaffinity(0)))
            own = _LocalWorkers(scheduler.scheduler_address, count, options.memory_limit, folder)
            opened.callback(_close, own)
            _wait_for(client, own, count)
        shared_builds = None if options.scheduler else builds
        with contextlib.closing(ClusterEngine(client, snapshots, shared_builds, say, own)) as engine:
            yield engine


def _quieten():
    """Keep Dask's own lines and tracebacks from standard error, also where it is ended at any moment.

    What matters is told by `say`, or raised. Some of Dask's loggers have a level of their own.
    """
    for name in ["distributed", *logging.Logger.manager.loggerDict]:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in ("asyncio", "tornado.application"):
        logger = logging.getLogger(name)
        if _is_not_dasks not in logger.filters:
            logger.addFilter(_is_not_dasks)


def _is_not_dasks(record):
    """Whether a line of the log is about something else than an exception that Dask raised."""
    error = record.exc_info[1] if record.exc_info else None
    return not type(error).__module__.startswith("distributed.")


def _wait_for(client, own, count):
    """Wait until the workers of our own are there."""
    until = time.monotonic() + START_S
    while len(client.nthreads()) < count:
        own.check()
        if time.monotonic() > until:
            raise EmuError(f"the worker processes do not start: {len(client.nthreads())} of {count} are there after"
                           f" {START_S} s")
        time.sleep(0.05)


def _connect(distributed, address):
    """Make the client of a scheduler; one that does not start is told nothing more, where Python collects it."""
    started = []

    class Client(distributed.Client):
        def start(self, **options):
            super().start(**options)
            started.append(True)

        def __del__(self):
            if started:
                super().__del__()

    try:
        distributed.comm.get_address_host(distributed.comm.normalize_address(address))
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise EmuError(f"scheduler {address}: does not answer: {why}") from None


class _LocalWorkers:
    """Worker processes of our own, started as programs: no script of the user is imported by them, and Ctrl-C is not
    theirs. They end with this process even where it is killed: `guard`, whose standard input we hold, sees to it.

    Parameters
    ----------
    address : str
        Of the scheduler.
    count : int
    memory_limit : int or None
        Bytes of each; None: an equal share of the machine's.
    folder : str
        Directory for all their files.
    """

    def __init__(self, address: str, count: int, memory_limit: int | None, folder: str):
        limit = "auto" if memory_limit is None else str(memory_limit)
        command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nworkers", str(count), "--nthreads",
                   "1", "--memory-limit", limit, "--no-dashboard", "--local-directory", folder,
                   "--death-timeout", str(DEATH_TIMEOUT_S)]
        environment = os.environ | {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": str(value)
                                    for key, value in _CONFIG.items()}
        environment |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "TMPDIR": folder}
        self._guard = subprocess.Popen([sys.executable, "-I", "-S", guard.__file__, folder, *command],
                                       stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env=environment, start_new_session=True)

    def check(self) -> None:
        """Raise `EmuError` where the program that keeps the workers has ended."""
        status = self._guard.poll()
        if status is not None:
            raise EmuError(f"the worker processes ended (status {status}): what was found is stored where there is a"
                           " --store, and the same command goes on from there")

    def close(self, timeout: float | None = None) -> None:
        """End the workers and remove their files."""
        with contextlib.suppress(OSError):
            self._guard.communicate(b"end")


def _close(what):
    """Close a client or a cluster; what is gone already is closed."""
    with contextlib.suppress(Exception):
        what.close(timeout=5)


class ClusterEngine:
    """Runs points on the workers of a Dask cluster.

    Parameters
    ----------
    client : distributed.Client
    snapshots : mapping of str to Snapshot
    builds : str or None
    say : callable
    own : _LocalWorkers or None
        Workers that end with the engine.

    Attributes
    ----------
    workers : int
        How many there are now.
    call : callable
        What workers are asked to do with a batch: `run_batch`, unless scheduling alone is measured.
    """

    call = staticmethod(run_batch)

    def __init__(self, client: Any, snapshots: Mapping[str, Snapshot], builds: str | None,
                 say: Callable[[str], None], own: _LocalWorkers | None = None):
        self._client = client
        self._own = own
        self._say = say
        self._name = f"plena-sweep-{uuid.uuid4().hex[:12]}"
        self._deaths: dict[str, int] = {}
        self._events: queue.SimpleQueue = queue.SimpleQueue()
        self._under_way: dict[Any, _Batch] = {}
        self._register(WorkshopPlugin(self._name, snapshots, builds, emulator_fingerprint()))
        self._known = self._look()
        self._looked = time.monotonic()
        self._without_workers = time.monotonic()

    def _register(self, plugin):
        try:
            self._client.register_plugin(plugin, name=self._name)
        except Exception as error:
            hint = "is plena-emu installed there?" if self._own is None else "is --memory-limit too small?"
            raise EmuError(f"the workers cannot be set up: {type(error).__name__}:"
                           f" {' '.join(str(error).split())[:200]} ({hint})") from None

    @property
    def workers(self) -> int:
        return max(1, len(self._known))

    def outcomes(self, waiting: Batches) -> Iterator[list[Outcome]]:
        """Run the points that wait; yields what became of each batch as it comes.

        Yields
        ------
        list of Outcome
            Empty about once a second where nothing has come, so that the caller can do what is due.

        Raises
        ------
        EmuError
            The scheduler is gone, a worker has another emulator, or its disk is full.
        """
        try:
            while len(waiting) or self._under_way:
                if time.monotonic() - self._looked > LOOK_EACH_S:
                    self._known, self._looked = self._look(), time.monotonic()
                    yield self._take_back(waiting)
                self._hand_out(waiting)
                with contextlib.suppress(queue.Empty):
                    future = self._events.get(timeout=LOOK_EACH_S)
                    yield self._take_in(future, waiting)
                self._check_scheduler()
        finally:
            self._drop()

    def _look(self):
        """Addresses of the workers."""
        try:
            return sorted(self._client.nthreads())
        except Exception:
            raise self._gone() from None

    def _take_back(self, waiting):
        """Take batches back whose workers are gone; returns outcomes of points that are failures now."""
        failed = []
        for future, batch in list(self._under_way.items()):
            if batch.worker not in self._known and not future.done():
                del self._under_way[future]
                with contextlib.suppress(Exception):  # that the scheduler is gone is found soon
                    self._client.cancel([future], force=True)
                failed += self._died(batch, 1, waiting)
        return failed

    def _hand_out(self, waiting):
        """Give each worker that has nothing to do a batch."""
        busy = {batch.worker for batch in self._under_way.values()}
        for worker in self._known:
            if worker in busy:
                continue
            points = waiting.take(worker, self.workers)
            if not points:
                break
            self._submit(worker, points)
        if self._known or self._under_way:
            self._without_workers = time.monotonic()
        elif time.monotonic() - self._without_workers > SILENCE_S:
            self._without_workers = time.monotonic()
            self._say("the cluster has no workers; waiting for some")

    def _submit(self, worker, points):
        task = [(point.id, point.specification) for point in points]
        future = self._client.submit(self.call, self._name, task, key=f"plena-batch-{uuid.uuid4().hex}", pure=False,
                                     workers=[worker], allow_other_workers=True)
        self._under_way[future] = _Batch(worker, points)
        future.add_done_callback(self._events.put)

    def _take_in(self, future, waiting):
        """What became of a batch; the points of one whose worker died go back."""
        batch = self._under_way.pop(future, None)
        if batch is None:
            return []
        if future.status in ("finished", "lost", "pending"):  # it may be lost since it was finished
            found = self._fetch(future, batch.worker)
            if found is None:
                return self._died(batch, 1, waiting)
            for point, outcome in zip(batch.points, found, strict=True):
                waiting.measured(point.group, outcome.seconds)
            return found
        if future.status == "error":
            from distributed import KilledWorker

            error = future.exception(timeout=60)
            if isinstance(error, KilledWorker):
                return self._died(batch, 1 + error.allowed_failures, waiting)
            if isinstance(error, EmuError):
                # Of a cluster that runs already it matters on which machine the disk is full.
                raise MachineError(f"worker {batch.worker}: {error}") if (
                    isinstance(error, MachineError) and self._own is None) else error
            raise EmuError(f"worker {batch.worker}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        self._check_scheduler()
        waiting.again_alone(batch.points)  # cancelled by somebody else
        return []

    def _fetch(self, future, worker):
        """Get a result from its worker; None where it is lost."""
        for seconds in FETCH_S:
            try:
                return [Outcome(*fields) for fields in future.result(timeout=seconds)]
            except TimeoutError:
                if worker not in self._look():
                    break
            except Exception:
                break
        with contextlib.suppress(Exception):  # nobody should compute it again for us
            self._client.cancel([future], force=True)
        return None

    def _died(self, batch, deaths, waiting):
        """Count a death for each point of a batch; returns outcomes of those that are failures now."""
        failed, again = [], []
        for point in batch.points:
            # In a batch of several any of them may have done it: one try alone is left to each.
            most = MOST_DEATHS if len(batch.points) == 1 else MOST_DEATHS - 1
            self._deaths[point.id] = min(self._deaths.get(point.id, 0) + deaths, most)
            if self._deaths[point.id] >= MOST_DEATHS:
                message = f"{MOST_DEATHS} workers died while they ran it (out of memory or killed)"
                line = failure_record(point.id, point.specification, message, "died")
                failed.append(Outcome(point.id, line, 0.0, True))
            else:
                again.append(point)
        waiting.again_alone(again)
        what = f"point {batch.points[0].id[:10]}" if len(batch.points) == 1 else f"{len(batch.points)} points"
        then = "it is a failure" if failed else "they run again, each alone" if len(again) > 1 else "it runs again"
        self._say(f"worker {batch.worker} died with {what}: {then}")
        self._looked = 0.0
        return failed

    def _check_scheduler(self):
        if self._own is not None:
            self._own.check()
        if self._client.status not in ("running", "connecting"):
            raise self._gone()

    def _gone(self):
        return EmuError("the scheduler is gone: what was found is stored where there is a --store, and the same command"
                        " goes on from there")

    def _drop(self):
        """Forget the batches under way."""
        with contextlib.suppress(Exception):
            self._client.cancel(list(self._under_way), force=True)
        self._under_way.clear()

    def close(self) -> None:
        """Take the workshops away from workers that go on without us."""
        with contextlib.suppress(Exception):
            self._client.unregister_worker_plugin(self._name)
