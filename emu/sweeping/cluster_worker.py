"""What a cluster's workers hold and run: a workshop each, set up by a plugin; workers that come later get it too."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from ..errors import EmuError
from .fingerprint import emulator_fingerprint
from .snapshots import Snapshot
from .worker import Workshop

if TYPE_CHECKING:
    from distributed import WorkerPlugin
else:
    try:
        from distributed import WorkerPlugin
    except ImportError:  # without the extra nobody makes a plugin
        WorkerPlugin = object


class WorkshopPlugin(WorkerPlugin):
    """Gives every worker of a cluster, also one that comes later, the inputs of a sweep and a workshop.

    Parameters
    ----------
    snapshots : mapping of str to Snapshot
    builds : str or None
        Directory for compiled models that all workers can write, or None.
    emulator : str
        Fingerprint of the emulator that points are for.
    """

    def __init__(self, name: str, snapshots: Mapping[str, Snapshot], builds: str | None, emulator: str):
        self.name = name
        self.emulator = emulator
        self._builds = builds
        self._packed = {digest: {name: zlib.compress(data, 1) for name, data in made.files.items()}
                        for digest, made in snapshots.items()}

    def setup(self, worker: object) -> None:
        """Make the workshop."""
        unpacked = {digest: Snapshot({name: zlib.decompress(data) for name, data in files.items()}, digest)
                    for digest, files in self._packed.items()}
        self.workshop = Workshop(unpacked, self._builds)
        self.lock = threading.Lock()  # a worker may have several threads

    def teardown(self, worker: object) -> None:
        """Remove the workshop's files."""
        self.workshop.close()


def run_batch(name: str, points: list[tuple[str, dict]]) -> list[tuple]:
    """Run points on the worker that this is called on.

    Parameters
    ----------
    name : str
        Of the plugin that set the worker up.
    points : list of (str, dict)
        Hash and specification of each.

    Returns
    -------
    list of tuple
        The fields of an `Outcome` each.

    Raises
    ------
    EmuError
        The worker has another emulator.
    """
    from distributed import get_worker

    plugin = cast(WorkshopPlugin, get_worker().plugins[name])
    if emulator_fingerprint() != plugin.emulator:
        raise EmuError(f"worker {get_worker().address}: has the emulator {emulator_fingerprint()}, expected"
                       f" {plugin.emulator}: install the same version on every machine")
    with plugin.lock:
        return [tuple(plugin.workshop.run(identity, specification)) for identity, specification in points]
