"""The engine without processes: every point in this one, in order. What a cluster finds is what this finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .batches import Batches
from .snapshots import Snapshot
from .worker import Outcome, Workshop


class LocalEngine:
    """Runs points one after the other in this process.

    Parameters
    ----------
    snapshots : mapping of str to Snapshot
        Inputs by hash.
    builds : str or None
        Directory for compiled models.
    """

    workers = 1

    def __init__(self, snapshots: Mapping[str, Snapshot], builds: str | None = None):
        self._workshop = Workshop(snapshots, builds)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self._workshop.close()

    def outcomes(self, waiting: Batches) -> Iterator[list[Outcome]]:
        """Run the points that wait, those of one program together; yields what became of them as it comes.

        Yields
        ------
        list of Outcome
        """
        while batch := waiting.take(self, self.workers):  # one point each: nobody tells what they cost
            yield [self._workshop.run(point.id, point.specification) for point in batch]
