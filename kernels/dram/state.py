"""Define the records of the DRAM controller: constants, front end, channel (spec chapter 4).

A memory is a `DramState`: three arrays of records, built by `plena_emu.memory.dram.new_state`. Its size is fixed;
nothing in it grows with a run. Clocks count ticks (§4.1), instants are picoseconds.

How a channel finds its next command: each bank has at most one *candidate* for each thing its oldest requests want
(ACT of a closed bank, PRE of an open one, RD/WR of the open row), the oldest entry of the queue that wants it.
Candidates are int32 keys that order by age, one bank a lane, beside lanes of the clock from which everything allows
the command there: the next command is a minimum over lanes. A command raises those clocks by a table of its own, all
timing rules that begin with it taken together.

Where the bursts of a 64-byte access differ in nothing but the channel, the channels they reach are always in the
same state: each access brings a burst to all of them, at the same tick as no later one is refused once the first
is taken. A channel record then stands for `lockstep_channels` channels, and an access is one sub-request to that
record (hbm2: 2 records of 4 channels).
"""

from typing import NamedTuple

import numpy as np

# Scalars are np.int64 where they are passed on, so that numba does not compile a function for each constant.
NONE = np.int64(-1)  # no slot, no tag, no row (a closed bank)

# Commands. The first four index the lanes.
ACT, PRE, RD, WR, PREA, REF = (np.int64(command) for command in range(6))
COMMANDS = 6

# Queues. `RD + queue` is the queue's column command.
READ, WRITE = np.int64(0), np.int64(1)

# Candidates of a bank: ACT, PRE (numbers of the commands) and RD or WR of the open row.
COLUMN = np.int64(2)
KINDS = 3

# Fixed sizes.
RANKS = 4
BANKS = 32  # of a channel; a bank's number is rank, bank group, bank
CHANNELS = 256
SLOTS = 64  # entries of a queue, a power of two
LOG_MASK = SLOTS - 1
NO_SLOT = 255
RAISES = 24  # pairs of a command and the following bank command
RANK_COMMANDS = 2  # PREA and REF
WINDOWED = 2  # rules over a window of several commands
WINDOW = 8
SUB_REQUESTS = 8  # of a 64-byte access
LINE = 64  # bytes of a cache line

# Columns of a rule over a window: banks of the node, the preceding and the following command, clocks, commands.
WIN_BANKS, WIN_PRECEDING, WIN_FOLLOWING, WIN_CLOCKS, WIN_LENGTH, WIN_WIDTH = range(6)
NO_RULE = -(1 << 15)

# Columns of a request, a cache line.
REQ_ROW, REQ_BANK, REQ_ARRIVE, REQ_FIRST, REQ_REST, REQ_TAG, REQ_ADDRESS, REQ_COMMAND, REQ_WIDTH = range(9)

# A decoded place (`place_of`): channel, bank and row in one integer, so that a sub-request's place is an exclusive or.
PLACE_BANK_BITS = 5
PLACE_CHANNEL_BITS = 8
PLACE_ROW = PLACE_BANK_BITS + PLACE_CHANNEL_BITS
BANK_MASK = (1 << PLACE_BANK_BITS) - 1
CHANNEL_MASK = (1 << PLACE_CHANNEL_BITS) - 1

# A candidate key: age above slot; a lane's value in a search puts the clocks to wait above it.
SLOT_BITS = 6
SLOT_MASK = (1 << SLOT_BITS) - 1
AGE_BITS = 13
AGES = (1 << AGE_BITS) - 1  # ages of a queue before they are numbered anew
KEY_BITS = SLOT_BITS + AGE_BITS
EMPTY = (1 << 31) - 1  # key of no candidate
EPOCH_LENGTH = 1 << 30  # clocks before the int32 lanes are based anew

# Read latencies are counted in bins of one clock up to LINEAR clocks, then OCTAVE bins for each doubling.
OCTAVE = 1024
LINEAR = 2 * OCTAVE
OCTAVES = 12
BINS = LINEAR + OCTAVES * OCTAVE

# Statistics of a channel record: of the first lockstep channel, of all of them where sub-requests are counted.
FIRST_COMMANDS = 0  # first command of a request, by kind: ACT a miss, PRE a conflict, COLUMN a hit
REFRESHES = 3
REJECTED_SENDS = 4
FORWARDED_READS = 5
BUSY = 6  # clocks with a request queued or data under way
LATENCY_SUM = 7  # clocks from the first attempt to the data, of all lockstep channels
COUNTS = 8

# What `send` did.
REJECTED, QUEUED, FORWARDED = range(3)

_u1, _i4, _i8 = np.uint8, np.int32, np.int64

def whole_lines(fields):
    """Make a record of whole cache lines; what is read and written by vectors stands first, in rows of whole lines.

    Returns
    -------
    np.dtype
    """
    size = np.dtype(fields, align=True).itemsize
    return np.dtype([*fields, ("rest_of_line", np.uint8, (-size % LINE + LINE,))], align=True)


CONFIG = whole_lines(
    [
        # Row r of `raise_by`, r from raise_at[c] to raise_at[c + 1]: after command c on a bank, the bank of each lane
        # allows command `raised[r]` that many clocks later, NO_RULE for at once.
        ("raise_by", np.int16, (RAISES, BANKS, BANKS)),
        # The same of reads alone, by command, bank and kind of candidate; 0 where there is no rule.
        ("read_raise_by", np.uint16, (KINDS, BANKS, KINDS, BANKS)),
        # Lanes of all ones: the bank itself; the banks of the node of a rule over a window that the bank is in.
        ("lane", np.uint16, (BANKS, BANKS)),
        ("window_lanes", np.uint16, (WINDOWED, BANKS, BANKS)),
        ("raise_at", _i8, (COMMANDS + 1,)),
        ("raised", _i8, (RAISES,)),
        ("tck_ps", _i8),  # ps of a clock
        ("read_latency", _i8),  # clocks from RD to data
        ("t_refi", _i8),  # clocks between refreshes, 0 without refresh
        ("channels", _i8),  # records
        ("lockstep_channels", _i8),  # channels that a record stands for
        ("ranks", _i8),
        ("sub_requests", _i8),  # of a 64-byte access; each is one burst in every lockstep channel
        ("sub_request_bytes", _i8),
        ("direct", _i8),  # 1: a batch without waits needs no event loop (see dram_batch)
        ("queue_capacity", _i8, (2,)),  # a queue takes a request while it holds no more than this
        ("high_watermark", _i8),  # queued writes at which write mode begins
        ("low_watermark", _i8),  # queued writes at which it ends
        ("sub_request_place", _i8, (SUB_REQUESTS,)),  # place of request s, relative to the block's
        ("place", _i8, (8, 256)),  # place of byte k of an address having value v
        ("window", _i8, (WINDOWED, WIN_WIDTH)),  # WIN_BANKS is 0 where there is none
        # clocks after a command until a rank command on its rank, and on any rank of the channel
        ("rank_by", _i8, (COMMANDS, RANK_COMMANDS)),
        ("channel_by", _i8, (COMMANDS, RANK_COMMANDS)),
        ("group_banks", _i8),  # banks of a bank group
        ("longest", _i8, (COMMANDS,)),  # clocks until a command holds nothing back any more
        ("rank_bits", _i8),  # of a bank's number, below its rank
    ]
)

FRONT = np.dtype(
    [
        ("ticks", _i8),  # ticks done; the next one is at ticks * tck_ps
        ("last_event", _i8),  # instant of the last event so far (§3.1)
        # read latencies of all channels but those still in STATE: the longest, and how many of each bin
        ("latency_max", _i8),
        ("latency_bins", _i8, (BINS,)),
        ("reads", _i8),  # 64-byte accesses
        ("writes", _i8),
        # a gather task that is alone, between two slices of its reads (see `front_end`)
        ("turn_now", _i8),  # instant of its turn
        ("turn_clk", _i8),  # ticks done when its next read is sent
        ("tick_follows", _i8),  # 1: the tick of the instant it began at is still to come
        ("refused", _i8),  # 1: a read was refused
        ("own_wakes", _i8),  # reads of the turn that were woken by their own polls
    ]
)

STATE = whole_lines(
    [
        ("ready", _i4, (RD + 2, BANKS)),  # clock since `epoch` from which the bank command is allowed
        ("key", _i4, (2, KINDS, BANKS)),
        ("clk", _i8),  # ticks done by this channel; it may lag behind FRONT.ticks
        ("epoch", _i8),  # clock that the int32 lanes count from
        ("write_mode", _i8),
        ("quiescent_at", _i8),  # clock from which no command so far holds anything back
        ("last_return", _i8),  # tick of the latest return
        ("next_refresh", _i8),
        ("refresh_due", _i8),  # refresh requests waiting
        ("refresh_rank", _i8),  # rank of the first of them
        ("queued", _i8, (2,)),  # requests in a queue
        ("age", _i8, (2,)),  # age of the next request
        ("active", _i8),  # requests whose ACT was issued
        ("reads_left", _i8),  # reads queued or active
        ("rank_ready", _i8, (RANK_COMMANDS, RANKS)),  # clock from which PREA and REF are allowed
        ("open_banks", _i8, (RANKS,)),
        ("open_row", _i8, (BANKS,)),
        # requests of a bank in a queue, oldest first, linked by slot; NO_SLOT ends the list
        ("head", _u1, (2, BANKS)),
        ("tail", _u1, (2, BANKS)),
        ("next", _u1, (2, SLOTS)),
        ("free", _u1, (2, SLOTS)),  # free slots, a stack
        ("fresh", _i8, (2,)),  # bit of a slot: no command was issued for it yet
        ("slot_key", _i4, (2, SLOTS)),
        ("request", _i8, (2, SLOTS, REQ_WIDTH)),
        # active requests by bank, at most one each; the banks by arrival, then ACT
        ("active_banks", _i8),  # bit of a bank
        ("active_order", _u1, (BANKS,)),
        ("active_request", _i8, (BANKS, REQ_WIDTH)),
        # clocks of the last commands of a node, for rules over a window
        ("recent", _i8, (WINDOWED, BANKS, WINDOW)),
        ("recent_count", _i8, (WINDOWED, BANKS)),
        ("count", _i8, (COUNTS,)),  # statistics (§4.8)
        # Who is charged for first commands (`row_ledger`).
        ("owner", _i8),  # memory event that sends now
        ("charged", _i8, (KINDS,)),  # first commands charged so far
        ("write_logged", _i8),
        ("write_log", _i8, (SLOTS,)),  # writes of other owners since then: owner << 2 | kind
        ("latency_max", _i8),  # of reads since the last `flush_latencies`, in clocks
        ("latency_bins", _i8, (BINS,)),
    ]
)


# An access of a trace, or of a batch that needs the event loop (see dram_loop).
ACCESS = np.dtype(
    [
        ("wait", _i8),  # ps it waits for the host
        ("issue", _i8),  # instant of its first poll
        ("accept", _i8),  # instant at which its last sub-request was taken
        ("done", _i8),
        ("due", _i8),  # end of its wait
        ("owner", _i4),  # batch, or CORE
        ("after", _i4),  # next in its task's queue
        ("after_link", _i4),  # next in the queue for the host link
        ("write", _u1),
        ("link", _u1),  # 1: holds the host link from before its wait to its end
        ("stage", _u1),
        ("in_queue", _u1),  # 1: in its task's queue
        ("woken", _u1),  # 1: woken since its last poll began
    ],
    align=True,
)

class DramState(NamedTuple):
    """State of one memory.

    Attributes
    ----------
    config : CONFIG[1]
        Constant.
    front : FRONT[1]
    channels : STATE[channels]
    unasked : ACCESS[0]
        In place of accesses that nobody asks about.
    """

    config: np.ndarray
    front: np.ndarray
    channels: np.ndarray
    unasked: np.ndarray
