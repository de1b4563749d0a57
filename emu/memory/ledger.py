"""The ledger of a run, host side: the instructions and HBM regions to charge (`kernels/memory/ledger.py`)."""

from collections.abc import Sequence

import numpy as np

from ..kernels.memory import ledger as lg
from ..kernels.memory.regimes import SIGN
from ..manifests.footprint import first_regions
from ..manifests.schema import Region


def new_ledger(words: int, regions: Sequence[Region]) -> lg.Ledger:
    """Build an empty ledger.

    Parameters
    ----------
    words : int
        Words of the program; with 0 nothing is charged.
    regions : sequence of Region
        HBM regions; an address belongs to the first that contains it (§3.6).

    Returns
    -------
    Ledger
        Its `by_region` has a row for each region, in their order, and one for addresses outside all of them.
    """
    pieces = first_regions(regions)
    starts = [first + SIGN for first, _ in pieces]
    return lg.Ledger(
        by_pc=np.zeros((words, lg.LG_WIDTH), dtype=np.int64),
        by_region=np.zeros((len(regions) + 1, lg.LG_WIDTH), dtype=np.int64),
        starts=np.array([*starts, 2**63 - 1], dtype=np.int64),
        region=np.array([len(regions) if index is None else index for _, index in pieces], dtype=np.int64),
        seen=np.zeros(lg.LG_WIDTH, dtype=np.int64),
        last=np.zeros(1, dtype=np.int64),
    )
