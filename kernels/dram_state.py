"""Records of the DRAM controller: what is constant, what the front end holds, what a channel holds (spec §4).

A memory is a `DramState`: three arrays of records, built by `plena_emu.dram.new_state`. Its size is fixed; nothing
in it grows with a run. Clocks count ticks (§4.1), instants are picoseconds.

How a channel finds its next command: each bank has at most one *candidate* for each thing its oldest requests want
(ACT of a closed bank, PRE of an open one, RD/WR of the open row), the oldest entry of the queue that wants it.
Candidates are int32 keys that order by age, in lanes of a rank's banks, beside lanes of the clock from which the bank
allows the command: the next command is a minimum over lanes. Constraints of a channel or rank are kept apart in
`rank_ready`, so a command touches few registers.

Where the transfers of a 64-byte access differ in nothing but the channel, the channels they reach are always in the
same state: each access brings a transfer to all of them, at the same tick as no later one is refused once the first
is taken. A channel record then stands for `twins` channels, and an access is one request (hbm2: 2 records of 4).
"""

from typing import NamedTuple

import numpy as np

# Scalars are np.int64 where they are passed on, so that numba does not compile a function for each constant.
NONE = np.int64(-1)  # no slot, no tag, no row (a closed bank)
NEVER = np.int64(np.iinfo(np.int64).max)

# Commands. The first four index the lanes.
ACT, PRE, RD, WR, PREA, REF = (np.int64(command) for command in range(6))
COMMANDS = 6

# Queues. `RD + queue` is the queue's column command.
READ, WRITE = np.int64(0), np.int64(1)

# Candidates of a bank: ACT, PRE (numbers of the commands) and RD or WR of the open row.
COLUMN = np.int64(2)
KINDS = 3

# Columns of a timing rule: its level, banks of the node (of a bank group), the command it holds back and for how
# many clocks; a window above 1 has a row of `recent`.
RULE_LEVEL, RULE_BANKS, RULE_BEFORE, RULE_CLOCKS, RULE_WINDOW, RULE_RECENT, RULE_WIDTH = range(7)

# Levels of a timing rule.
CHANNEL, RANK, GROUP, BANK = range(4)

# Fixed sizes.
RANKS = 4
LANE_BITS = 5
LANES = 1 << LANE_BITS  # banks of a rank
BANKS = RANKS * LANES  # a bank's number is rank << LANE_BITS | bank group, bank
CHANNELS = 64
SLOTS = 64  # entries of a queue
NO_SLOT = 255
ACTIVE = 33
RULES = 64
WINDOWED = 2  # rules over a window of several commands
WINDOW = 8
PARTS = 8  # requests of a 64-byte access

# A decoded place (`place_of`): channel, bank and row in one integer, so that a part's place is an exclusive or.
PLACE_BANK_BITS = 7
PLACE_CHANNEL_BITS = 6
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

# What `send` did.
REJECTED, QUEUED, FORWARDED = range(3)

_u1, _i4, _i8 = np.uint8, np.int32, np.int64

CONFIG = np.dtype(
    [
        ("period", _i8),  # ps
        ("latency", _i8),  # clocks from RD to data
        ("interval", _i8),  # clocks between refreshes, 0 without refresh
        ("channels", _i8),  # records
        ("twins", _i8),  # channels that a record stands for
        ("ranks", _i8),
        ("parts", _i8),  # requests of a 64-byte access; each is `twins` transfers
        ("part_bytes", _i8),
        ("direct", _i8),  # 1: a batch without waits needs no event loop (see dram_batch)
        ("limit", _i8, (2,)),  # a queue takes a request while it holds no more
        ("enter", _i8),  # queued writes at which write mode begins
        ("leave", _i8),  # queued writes at which it ends
        ("part_place", _i8, (PARTS,)),  # place of request s, relative to the block's
        ("place", _i8, (8, 256)),  # place of byte k of an address having value v
        ("rule_at", _i8, (COMMANDS + 1,)),  # rules of command c are rule_at[c] .. rule_at[c + 1]
        ("rule", _i8, (RULES, RULE_WIDTH)),
    ]
)

FRONT = np.dtype(
    [
        ("ticks", _i8),  # ticks done; the next one is at ticks * period
        ("last_event", _i8),  # instant of the last event so far (§3.1)
        ("reads", _i8),  # 64-byte accesses
        ("writes", _i8),
    ]
)

STATE = np.dtype(
    [
        ("clk", _i8),  # ticks done by this channel; it may lag behind FRONT.ticks
        ("epoch", _i8),  # clock that the int32 lanes count from
        ("write_mode", _i8),
        ("last_return", _i8),  # tick of the latest return
        ("next_refresh", _i8),
        ("refresh_due", _i8),  # refresh requests waiting
        ("refresh_rank", _i8),  # rank of the first of them
        ("queued", _i8, (2,)),  # requests in a queue
        ("age", _i8, (2,)),  # age of the next request
        ("active", _i8),  # requests whose ACT was issued
        ("reads_left", _i8),  # reads queued or active
        ("channel_ready", _i8, (COMMANDS,)),  # clock from which the channel allows a command
        ("rank_ready", _i8, (COMMANDS, RANKS)),
        ("open_banks", _i8, (RANKS,)),
        ("open_row", _i8, (BANKS,)),
        ("active_bank", _u1, (BANKS,)),  # 1: the bank has an active request
        ("ready", _i4, (RD + 2, RANKS, LANES)),  # clock since `epoch` from which bank and group allow a command
        ("key", _i4, (2, KINDS, RANKS, LANES)),
        ("candidates", _i8, (2, KINDS, RANKS)),  # keys that are not EMPTY
        # requests of a bank in a queue, oldest first, linked by slot; NO_SLOT ends the list
        ("head", _u1, (2, BANKS)),
        ("tail", _u1, (2, BANKS)),
        ("next", _u1, (2, SLOTS)),
        ("free", _u1, (2, SLOTS)),  # free slots, a stack
        ("bank", _u1, (2, SLOTS)),
        ("fresh", _u1, (2, SLOTS)),  # 1: no command was issued for it yet
        ("slot_key", _i4, (2, SLOTS)),
        ("row", _i8, (2, SLOTS)),
        ("arrive", _i8, (2, SLOTS)),
        ("first", _i8, (2, SLOTS)),  # clock of the first attempt
        ("rest", _i8, (2, SLOTS)),  # that of the twins, which attempt when the first is taken
        ("tag", _i8, (2, SLOTS)),
        ("address", _i8, (2, SLOTS)),
        # active requests
        ("act_bank", _u1, (ACTIVE,)),
        ("act_command", _i8, (ACTIVE,)),
        ("act_arrive", _i8, (ACTIVE,)),
        ("act_since", _i8, (ACTIVE,)),  # clock of its ACT
        ("act_first", _i8, (ACTIVE,)),
        ("act_rest", _i8, (ACTIVE,)),
        ("act_tag", _i8, (ACTIVE,)),
        # last commands of a node, for rules with a window
        ("recent", _i8, (WINDOWED, BANKS, WINDOW)),
        ("recent_count", _i8, (WINDOWED, BANKS)),
        # statistics (§4.8) of the first channel; of all where transfers are counted
        ("first_commands", _i8, (KINDS,)),  # first command of a request: ACT a miss, PRE a conflict, COLUMN a hit
        ("refreshes", _i8),
        ("rejected", _i8),
        ("forwarded", _i8),
        ("busy", _i8),  # clocks with a request queued or data under way
        ("latency_sum", _i8),  # clocks from the first attempt to the data, of transfers
        ("latency_max", _i8),
        ("latency_bins", _i8, (BINS,)),
    ],
    align=True,
)


# An access of a trace, or of a batch that needs the event loop (see dram_loop).
ACCESS = np.dtype(
    [
        ("wait", _i8),  # ps it waits for the host
        ("issue", _i8),  # instant of its first poll
        ("accept", _i8),  # instant at which its last part was taken
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
    """One memory.

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
