"""Board DDR: constants and arrays (spec §3.5)."""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel

TCK = 833  # ps
CAS = TRCD = TRP = 16 * TCK
BURST = 4 * TCK
BANKS = 16  # of a channel

# Slots of `Ddr.geo`: geometry, constant for a run.
GEO_CHANNEL_MASK = 0
GEO_BANK_MASK = 1
GEO_READ_SHIFT = 2  # reads and writes find their bank in different bits
GEO_WRITE_SHIFT = 3
GEO_ROW_SHIFT = 4
GEO_ROW_MASK = 5
GEO_BANKS = 6  # banks a channel
GEO_RD = 7  # permits of `rd` a channel
GEO_CMD = 8  # permits of `cmd` and of `data` a channel
GEO_WIDTH = 9

# Slots of a bank: 1 while idle, reads that wait, instant of its last precharge's end (ps), order among precharges
# that end together; then the waiting reads, oldest first.
BANK_IDLE, BANK_WAITING, BANK_DUE, BANK_TURN, BANK_QUEUE = range(5)

# Slots of `Ddr.q`.
WOKEN_HEAD, WOKEN_TAIL, READY_HEAD, READY_TAIL, WAIT_HEAD, WAIT_TAIL, ARMED, LAST, Q_WIDTH = range(9)


class Ddr(NamedTuple):
    """One DDR memory with room for batches of up to `reads`.

    Attributes
    ----------
    geo : int64[GEO_WIDTH]
        Address mapping, banks, permits.
    q : int64[Q_WIDTH]
        Heads and tails of the queues; `ARMED`: 1 while the next wake makes the gather task ready; `LAST`: the last
        event of all so far, ps.
    woken : int64[power of two >= reads]
        The gather task's woken reads and what they go on with.
    ready : int64[power of two]
        Run queue: turns of the gather task and bank actions that are due.
    banks : int64[banks, BANK_QUEUE + reads in flight]
        See `BANK_*`.
    sems : int64[semaphores, SEM_QUEUE + reads]
        Free permits, head and tail of the queue; then the queue.
    rings : int64[RINGS, RING_QUEUE + 2 * power of two]
        Head and tail; then timers, each when and what; `NEVER` is due behind the last one.
    waits : int64[reads + 1, 2]
        Host transfers in progress, when and which read, by (time, creation); `NEVER` is due behind the last one.
    plain : int64[PLAIN_WIDTH]
        Room of `ddr_plain`.
    """

    geo: np.ndarray
    q: np.ndarray
    woken: np.ndarray
    ready: np.ndarray
    banks: np.ndarray
    sems: np.ndarray
    rings: np.ndarray
    waits: np.ndarray
    plain: np.ndarray


@kernel
def channel_of(geo, address):
    """Channel of a block (§3.5)."""
    return (address >> 6) & geo[GEO_CHANNEL_MASK]


@kernel
def bank_of(geo, address, shift):
    """Bank of a block, counted over all channels."""
    return channel_of(geo, address) * geo[GEO_BANKS] + ((address >> shift) & geo[GEO_BANK_MASK])


@kernel
def row_of(geo, address):
    """Row of a block."""
    return (address >> geo[GEO_ROW_SHIFT]) & geo[GEO_ROW_MASK]
