"""What stands in front of every memory engine: time, bytes, the list of an event's accesses, the regime (spec §3)."""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel, small
from ..layout import MEV_DELTA, SH_STORE
from ..limits import ACCESS_BYTES
from .accesses import list_accesses
from .ledger import Ledger, charge
from .regimes import RG_PLAIN, Regime, decide

# Status of a slice.
TIMING_OK = 0
TIME_OVERFLOW = 1  # simulated time passes TIME_LIMIT; PORT_EVENT is the event

# Slots of `Port.reg`.
PORT_NOW = 0  # completion of the last event, ps
PORT_READ = 1  # bytes read
PORT_WRITTEN = 2  # bytes written
PORT_EVENT = 3  # event of the slice that is being worked on
PORT_HELD = 4  # reads of the event that wait for the host or take its link
PORT_WIDTH = 5


class Port(NamedTuple):
    """What stands in front of every memory engine; `accesses` is the longest list any DMA shape gives.

    Attributes
    ----------
    reg : int64[PORT_WIDTH]
    addr : int64[accesses]
        Block addresses of the event (u64 bit patterns), in issue order.
    wait : int64[accesses]
        Picoseconds a read waits for the host, 0 for none.
    link : int64[accesses]
        1 for a read behind the host link.
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
def list_event(port, event, shape):
    """List an event's accesses, count them and decide about its reads: how many there are."""
    reg = port.reg
    n = list_accesses(shape, event, port.addr)
    reg[PORT_HELD] = decide(port.regime, port.addr, n, port.wait, port.link)
    reg[PORT_READ] += ACCESS_BYTES * n
    if shape[SH_STORE] == 1:
        reg[PORT_WRITTEN] += ACCESS_BYTES * n
    return n


@small
def count_resident(port, n):
    """Count `n` reads that need not be listed, because the regime has nothing to decide about them."""
    port.regime.reg[RG_PLAIN] += n
    port.reg[PORT_READ] += ACCESS_BYTES * n


@small
def finish_event(port, event, start, done):
    """End an event that began at `start`: `PORT_NOW` moves on to `done`, and the ledger is charged."""
    reg = port.reg
    reg[PORT_NOW] = done
    charge(port.ledger, port.regime, event, start, done, reg[PORT_READ], reg[PORT_WRITTEN])


@kernel
def issue(port, event, shape):
    """Advance to the start of an event, list its accesses and decide about its reads: how many there are."""
    port.reg[PORT_NOW] += event[MEV_DELTA]
    return list_event(port, event, shape)
