"""Board-DDR timing as a library: the memory of §3.5 on its own, its channel presets, and `NaiveTiming`.

The emulator itself uses one channel behind a memory model (`plena_emu.memory.models`).
"""

import numpy as np

from ..errors import EmuError
from ..isa import REVISIONS
from ..kernels.limits import OVERFLOW, TIME_LIMIT
from ..kernels.simple import batch as ddr
from ..kernels.simple import event_loop as ddr_loop
from ..kernels.simple import state as at
from ..kernels.simple.fast_path import PLAIN_WIDTH
from ..precompile import compiling


def preset(channels: int = 1, revision: str = "base") -> np.ndarray:
    """Geometry of a memory with `channels` channels (§3.5, last paragraph): int64[GEO_WIDTH].

    `base` widens one set of semaphores and banks: log2(channels) more bank bits, as many row bits fewer. The later
    revision has semaphores and banks a channel, which the lowest block bits select, then bank and row bits; with one
    channel both are the memory of the emulator.

    Raises
    ------
    EmuError
        `channels` is not a power of two from 1 to 65536, or the revision is unknown.
    """
    if channels < 1 or channels > 1 << 16 or channels & (channels - 1):
        raise EmuError(f"DDR preset: found {channels} channels, expected a power of two from 1 to 65536")
    if revision not in REVISIONS:
        raise EmuError(f"DDR preset: found revision {revision!r}, expected one of {', '.join(REVISIONS)}")
    geo = np.zeros(at.GEO_WIDTH, dtype=np.int64)
    extra = channels.bit_length() - 1
    separate = revision == "moe"
    geo[at.GEO_CHANNEL_MASK] = channels - 1 if separate else 0
    geo[at.GEO_BANKS] = at.BANKS if separate else at.BANKS * channels
    geo[at.GEO_BANK_MASK] = geo[at.GEO_BANKS] - 1
    geo[at.GEO_READ_SHIFT] = 6 + extra if separate else 6
    geo[at.GEO_WRITE_SHIFT] = 10 + extra if separate else 10
    geo[at.GEO_ROW_SHIFT] = 14 + extra
    geo[at.GEO_ROW_MASK] = 0xFFFF if separate else 0xFFFF >> extra
    geo[at.GEO_RD] = 16 if separate else 16 * channels
    geo[at.GEO_CMD] = 1 if separate else channels
    return geo


def new_ddr(reads: int, geo: np.ndarray | None = None) -> at.Ddr:
    """Idle memory with room for batches of `reads`; `EmuError` when the host's memory does not hold its queues."""
    geo = preset() if geo is None else geo
    try:
        return _new_ddr(max(reads, 1), geo)
    except (MemoryError, ValueError):
        raise EmuError(f"DDR: no memory for a batch of {reads} reads") from None


def _new_ddr(reads, geo):
    channels = int(geo[at.GEO_CHANNEL_MASK]) + 1
    banks = channels * int(geo[at.GEO_BANKS])
    flying = channels * int(geo[at.GEO_RD])
    sems = channels * ddr_loop.PORT + 1
    timers = 1 << (flying + banks).bit_length()

    def zeros(*shape):
        return np.zeros(shape, dtype=np.int64)

    return at.Ddr(
        geo=geo,
        q=zeros(at.Q_WIDTH),
        woken=zeros(1 << (reads - 1).bit_length()),
        # Bank actions that are due, and a few turns of the gather task.
        ready=zeros(2 * timers),
        banks=zeros(banks, at.BANK_QUEUE + int(geo[at.GEO_RD])),
        sems=zeros(sems, ddr_loop.SEM_QUEUE + reads),
        rings=zeros(ddr_loop.RINGS, ddr_loop.RING_QUEUE + 2 * timers),
        waits=zeros(reads + 1, 2),
        plain=zeros(PLAIN_WIDTH),
    )


class DdrTiming:
    """One DDR memory: batches of concurrent reads and read-modify-write stores, one after the other.

    Attributes
    ----------
    now_ps : int
        Completion of the last operation.
    last_ps : int
        The last event so far, pending precharges included (§3.1).
    """

    def __init__(self, channels: int = 1, revision: str = "base"):
        self._geo = preset(channels, revision)
        self._reads = 1
        self._ddr = new_ddr(self._reads, self._geo)
        self.now_ps = 0

    @property
    def last_ps(self) -> int:
        return max(self.now_ps, int(self._ddr.q[at.LAST]))

    def idle(self, picoseconds: int) -> None:
        """Let time pass."""
        self.now_ps += picoseconds

    def read(self, addresses, waits=None, links=None) -> int:
        """Issue these reads (byte addresses) at once; returns and moves on to the completion of the last, in ps.

        `waits` (whole nanoseconds, in ps) delay single reads; reads with a link of 1 share the host link.
        """
        return self._run(ddr.ddr_batch, addresses, waits, links)

    def store(self, addresses) -> int:
        """Read, then write, each address in turn; returns and moves on to the completion of the last, in ps."""
        return self._run(ddr.ddr_store, addresses, None, None)

    def _run(self, operation, addresses, waits, links):
        addr, wait, link = (_column(values, len(addresses)) for values in (addresses, waits, links))
        for odd in wait[wait % 1000 != 0][:1]:
            raise EmuError(f"DDR: found a wait of {odd} ps, expected whole nanoseconds")
        if len(addr) > self._reads:
            self._grow(len(addr))
        with compiling("simple.batch"):
            done = operation(self._ddr, addr, wait, link, len(addr), self.now_ps)
        if done == OVERFLOW:
            raise EmuError(f"DDR: simulated time passes {TIME_LIMIT} ps")
        self.now_ps = int(done)
        return self.now_ps

    def _grow(self, reads):
        self._reads = reads
        self._ddr = new_ddr(reads, self._geo)._replace(banks=self._ddr.banks, q=self._ddr.q)


def _column(values, length):
    """int64 array of u64 values, zeros for None."""
    if values is None:
        return np.zeros(length, dtype=np.int64)
    return np.array(values, dtype=np.uint64).view(np.int64)


class NaiveTiming:
    """`NaiveTiming` of §3.5: a command slot, CAS and a data bus, no banks; a single access takes 17493 ps.

    Reads and writes are alike, so a batch takes (17 + 4 n) tCK.
    """

    def __init__(self):
        self.now_ps = 0

    def read(self, addresses) -> int:
        """Issue these accesses at once; returns and moves on to the completion of the last, in ps."""
        command = bus = self.now_ps
        for _ in addresses:
            command += at.TCK
            bus = max(bus, command + at.CAS) + at.BURST
        self.now_ps = bus
        return bus

    write = read
