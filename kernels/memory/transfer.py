"""Prepare a DMA transfer for a memory engine: start, accesses, bytes, decisions of the regime (spec §3.1-§3.9)."""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel, small
from ..layout import DESC_STORE, MEV_DELTA, MEV_TOOK
from ..limits import ACCESS_BYTES
from .accesses import list_accesses
from .ledger import Ledger, charge
from .regimes import RG_PLAIN, Regime, decide

# Status of a slice.
TIMING_OK = 0
TIME_OVERFLOW = 1  # simulated time passes TIME_LIMIT; TRANSFER_EVENT is the event

# Slots of `Transfer.reg`.
TRANSFER_NOW = 0  # completion of the last event, ps
TRANSFER_READ = 1  # bytes read
TRANSFER_WRITTEN = 2  # bytes written
TRANSFER_EVENT = 3  # event of the slice that is being worked on
TRANSFER_HELD = 4  # reads of the event that wait for the host or take its link
TRANSFER_WIDTH = 5


class Transfer(NamedTuple):
    """Registers of the timing pass, and the accesses of the present DMA transfer.

    `accesses` is the longest list any DMA descriptor gives.

    Attributes
    ----------
    reg : int64[TRANSFER_WIDTH]
    addr : int64[accesses]
        Block addresses of the event (u64 bit patterns), in issue order.
    wait : int64[accesses]
        Picoseconds an access waits for the host, 0 for none.
    link : int64[accesses]
        1 for an access behind the host link.
    regime : Regime
    ledger : Ledger
    """

    reg: np.ndarray
    addr: np.ndarray
    wait: np.ndarray
    link: np.ndarray
    regime: Regime
    ledger: Ledger


@small
def list_event(transfer, event, descriptor):
    """List an event's accesses, count them and decide about its reads.

    Returns how many accesses there are.
    """
    reg = transfer.reg
    n = list_accesses(descriptor, event, transfer.addr)
    reg[TRANSFER_HELD] = decide(transfer.regime, transfer.addr, n, transfer.wait, transfer.link)
    reg[TRANSFER_READ] += ACCESS_BYTES * n
    if descriptor[DESC_STORE] == 1:
        reg[TRANSFER_WRITTEN] += ACCESS_BYTES * n
    return n


@small
def count_resident(transfer, n):
    """Count `n` reads that need not be listed, because the regime has nothing to decide about them."""
    transfer.regime.reg[RG_PLAIN] += n
    transfer.reg[TRANSFER_READ] += ACCESS_BYTES * n


@small
def finish_event(transfer, event, start, done):
    """End an event that began at `start`: `TRANSFER_NOW` moves on to `done`, and the ledger is charged.

    The event gets the time it took, with or without a ledger.
    """
    reg = transfer.reg
    event[MEV_TOOK] = done - start
    reg[TRANSFER_NOW] = done
    charge(transfer.ledger, transfer.regime, event, start, done, reg[TRANSFER_READ], reg[TRANSFER_WRITTEN])


@kernel
def issue(transfer, event, descriptor):
    """Advance to the start of an event, list its accesses and decide about its reads.

    Returns how many accesses there are.
    """
    transfer.reg[TRANSFER_NOW] += event[MEV_DELTA]
    return list_event(transfer, event, descriptor)
