"""Board-DDR timing as a library: the memory of §3.5 on its own, its channel presets, and `NaiveTiming`.

The emulator itself uses one channel behind a memory model (`plena_emu.memory.models`).
"""

import operator

import numpy as np

from ..errors import EmuError, UsageError
from ..inputs.arguments import count_of, index_of
from ..inputs.words import shown
from ..isa import REVISIONS
from ..kernels.limits import OVERFLOW, TIME_LIMIT
from ..kernels.simple import event_loop
from ..kernels.simple import foreseen as fs
from ..kernels.simple import state as simple_state
from ..kernels.simple.batch import simple_batch, simple_store
from ..kernels.simple.fast_path import PLAIN_WIDTH


def preset(channels: int = 1, revision: str = "base") -> np.ndarray:
    """Organisation of a memory with `channels` channels (§3.5, last paragraph): int64[ORG_WIDTH].

    `base` widens one set of semaphores and banks: log2(channels) more bank bits, as many row bits fewer. The later
    revision has semaphores and banks a channel, which the lowest block bits select, then bank and row bits; with one
    channel both are the memory of the emulator.

    Returns
    -------
    np.ndarray

    Raises
    ------
    EmuError
        `channels` is not a power of two from 1 to 65536, or the revision is unknown.
    """
    number = index_of("channels", channels)
    if isinstance(number, bool) or not isinstance(number, int):
        raise UsageError(f"channels: found {shown(channels)}, expected a power of two from 1 to 65536")
    channels = number
    if channels < 1 or channels > 1 << 16 or channels & (channels - 1):
        raise EmuError(f"DDR preset: found {channels} channels, expected a power of two from 1 to 65536")
    if not isinstance(revision, str) or revision not in REVISIONS:
        raise EmuError(f"DDR preset: found revision {shown(revision)}, expected one of {', '.join(REVISIONS)}")
    organisation = np.zeros(simple_state.ORG_WIDTH, dtype=np.int64)
    extra = channels.bit_length() - 1
    separate = revision == "moe"
    organisation[simple_state.ORG_CHANNEL_MASK] = channels - 1 if separate else 0
    organisation[simple_state.ORG_BANKS] = simple_state.BANKS if separate else simple_state.BANKS * channels
    organisation[simple_state.ORG_BANK_MASK] = organisation[simple_state.ORG_BANKS] - 1
    organisation[simple_state.ORG_READ_SHIFT] = 6 + extra if separate else 6
    organisation[simple_state.ORG_WRITE_SHIFT] = 10 + extra if separate else 10
    organisation[simple_state.ORG_ROW_SHIFT] = 14 + extra
    organisation[simple_state.ORG_ROW_MASK] = 0xFFFF if separate else 0xFFFF >> extra
    organisation[simple_state.ORG_RD] = 16 if separate else 16 * channels
    organisation[simple_state.ORG_CMD] = 1 if separate else channels
    return organisation


def new_simple_state(reads: int, organisation: np.ndarray | None = None) -> simple_state.SimpleState:
    """Idle memory with room for batches of `reads`; `EmuError` when the host's memory does not hold its queues."""
    organisation = preset() if organisation is None else organisation
    try:
        return _new_simple_state(max(reads, 1), organisation)
    except (MemoryError, ValueError):
        raise EmuError(f"DDR: no memory for a batch of {reads} reads") from None


def _new_simple_state(reads, organisation):
    channels = int(organisation[simple_state.ORG_CHANNEL_MASK]) + 1
    banks = channels * int(organisation[simple_state.ORG_BANKS])
    flying = channels * int(organisation[simple_state.ORG_RD])
    sems = channels * event_loop.SEMS_PER_CHANNEL + 1
    timers = 1 << (flying + banks).bit_length()

    def zeros(*shape):
        return np.zeros(shape, dtype=np.int64)

    return simple_state.SimpleState(
        organisation=organisation,
        queues=zeros(simple_state.QUEUES_WIDTH),
        woken=zeros(1 << (reads - 1).bit_length()),
        # Bank actions that are due, and a few turns of the gather task.
        ready=zeros(2 * timers),
        banks=zeros(banks, simple_state.BANK_QUEUE + int(organisation[simple_state.ORG_RD])),
        sems=zeros(sems, event_loop.SEM_QUEUE + reads),
        rings=zeros(event_loop.RINGS, event_loop.RING_QUEUE + 2 * timers),
        waits=zeros(reads + 1, 2),
        plain=zeros(PLAIN_WIDTH),
    )


def new_foreseen(slots: int, arena: int) -> fs.Foreseen:
    """Build an empty table of foreseen values; `slots` and `arena` of 1 where nobody looks at it."""
    sizes = (fs.F_WIDTH, slots, arena)
    return fs.Foreseen(*(np.zeros(size, dtype=np.int64) for size in sizes))


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
        self._organisation = preset(channels, revision)
        self._reads = 1
        self._state = new_simple_state(self._reads, self._organisation)
        self.now_ps = 0

    @property
    def last_ps(self) -> int:
        return max(self.now_ps, int(self._state.queues[simple_state.LAST_EVENT]))

    def idle(self, picoseconds: int) -> None:
        """Let time pass. Raises `UsageError` for what is no count of picoseconds."""
        number = count_of("picoseconds", picoseconds, 0)
        if number is None:
            raise UsageError("picoseconds: found null, expected an integer from 0")
        self.now_ps += number

    def read(self, addresses, waits=None, links=None) -> int:
        """Issue these reads (byte addresses) at once; returns and moves on to the completion of the last, in ps.

        `waits` (whole nanoseconds, in ps) delay single reads; reads with a link of 1 share the host link.
        """
        return self._run(simple_batch, addresses, waits, links)

    def store(self, addresses) -> int:
        """Read, then write, each address in turn; returns and moves on to the completion of the last, in ps."""
        return self._run(simple_store, addresses, None, None)

    def _run(self, operation, addresses, waits, links):
        addr = _column("addresses", addresses, None)
        wait, link = (_column(name, values, len(addr)) for name, values in (("waits", waits), ("links", links)))
        for odd in wait[wait % 1000 != 0][:1]:
            raise EmuError(f"DDR: found a wait of {odd} ps, expected whole nanoseconds")
        if len(addr) > self._reads:
            self._grow(len(addr))
        done = operation(self._state, addr, wait, link, len(addr), self.now_ps)
        if done == OVERFLOW:
            raise EmuError(f"DDR: simulated time passes {TIME_LIMIT} ps")
        self.now_ps = int(done)
        return self.now_ps

    def _grow(self, reads):
        self._reads = reads
        grown = new_simple_state(reads, self._organisation)
        self._state = grown._replace(banks=self._state.banks, queues=self._state.queues)


def _column(name, values, length):
    """int64 array of u64 values: as many as `length` says, where it is known, and zeros for None then."""
    if values is None and length is not None:
        return np.zeros(length, dtype=np.int64)
    try:
        numbers = np.array([operator.index(value) for value in values], dtype=np.uint64)
    except (TypeError, OverflowError):
        raise UsageError(f"{name}: found {shown(values)}, expected integers from 0 to 2^64 - 1") from None
    if length is not None and len(numbers) != length:
        raise UsageError(f"{name}: found {len(numbers)}, expected one for each of {length} addresses")
    return numbers.view(np.int64)


class NaiveTiming:
    """`NaiveTiming` of §3.5: a command slot, CAS and a data bus, no banks; a single access takes 17493 ps.

    Reads and writes are alike, so a batch takes (17 + 4 n) tCK.
    """

    def __init__(self):
        self.now_ps = 0

    def read(self, addresses) -> int:
        """Issue these accesses at once; returns and moves on to the completion of the last, in ps."""
        command = bus = self.now_ps
        for _ in _column("addresses", addresses, None):
            command += simple_state.TCK
            bus = max(bus, command + simple_state.CAS) + simple_state.BURST
        self.now_ps = bus
        return bus

    write = read
