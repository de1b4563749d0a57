"""Define constants and arrays of the idealised banks (spec §3.5)."""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel

TCK = 833  # ps
CAS = TRCD = TRP = 16 * TCK
BURST = 4 * TCK
BANKS = 16  # of a channel

# Slots of `SimpleState.organisation`: geometry, constant for a run.
ORG_CHANNEL_MASK = 0
ORG_BANK_MASK = 1
ORG_READ_SHIFT = 2  # reads and writes find their bank in different bits
ORG_WRITE_SHIFT = 3
ORG_ROW_SHIFT = 4
ORG_ROW_MASK = 5
ORG_BANKS = 6  # banks a channel
ORG_RD = 7  # permits of `rd` a channel
ORG_CMD = 8  # permits of `cmd` and of `data` a channel
ORG_WIDTH = 9

# Slots of a bank: 1 while idle, reads that wait, instant of its last precharge's end (ps), order among precharges
# that end together; then the waiting reads, oldest first.
BANK_IDLE, BANK_WAITING, BANK_DUE, BANK_TURN, BANK_QUEUE = range(5)

# Slots of `SimpleState.queues`.
WOKEN_HEAD, WOKEN_TAIL, READY_HEAD, READY_TAIL, WAIT_HEAD, WAIT_TAIL, ARMED, LAST_EVENT, QUEUES_WIDTH = range(9)


class SimpleState(NamedTuple):
    """One DDR memory with room for batches of up to `reads`.

    Attributes
    ----------
    organisation : int64[ORG_WIDTH]
        Address mapping, banks, permits.
    queues : int64[Q_WIDTH]
        Heads and tails of the queues; `ARMED`: 1 while the next wake makes the gather task ready; `LAST_EVENT`: the
        last event of all so far, ps.
    woken : int64[power of two >= reads]
        Wakeups of the gather task: its woken reads, each above the stage in which it continues.
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
        Room of `fast_path`.
    """

    organisation: np.ndarray
    queues: np.ndarray
    woken: np.ndarray
    ready: np.ndarray
    banks: np.ndarray
    sems: np.ndarray
    rings: np.ndarray
    waits: np.ndarray
    plain: np.ndarray


@kernel
def channel_of(organisation, address):
    """Extract the channel of a block (§3.5)."""
    return (address >> 6) & organisation[ORG_CHANNEL_MASK]


@kernel
def bank_of(organisation, address, shift):
    """Extract the bank of a block, counted over all channels."""
    bank = (address >> shift) & organisation[ORG_BANK_MASK]
    return channel_of(organisation, address) * organisation[ORG_BANKS] + bank


@kernel
def row_of(organisation, address):
    """Extract the row of a block."""
    return (address >> organisation[ORG_ROW_SHIFT]) & organisation[ORG_ROW_MASK]
