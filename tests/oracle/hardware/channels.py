"""Time of batches of lines on hbm2 with any number of channels (spec §7.4, §4.2-§4.6 with `moe` timing).

A channel is run from command to command. Channels that have had the same requests all along are one object: they
share nothing, so they are in the same state.
"""

import copy
from collections import deque

PERIOD = 1000
READ_LATENCY, WRITE_LATENCY = 11, 1
ROOM = 33
COLUMN_LOW, COLUMN_BITS = 2, 5
RANKS, GROUPS, BANKS = 2, 4, 4
ACT, PRE, RD, WR = range(4)
NEVER = 1 << 60

# (banks that share the node, preceding, following, clocks)
ALL, PSEUDO, GROUP, ONE = RANKS * GROUPS * BANKS, GROUPS * BANKS, BANKS, 1
RULES = (
    (ALL, ACT, ACT, 2), (ALL, ACT, PRE, 2), (PSEUDO, ACT, ACT, 2), (PSEUDO, RD, RD, 2), (PSEUDO, WR, WR, 2),
    (PSEUDO, RD, WR, 11), (PSEUDO, WR, RD, 9), (GROUP, RD, RD, 2), (GROUP, WR, WR, 2), (GROUP, WR, RD, 10),
    (GROUP, ACT, ACT, 3), (ONE, ACT, ACT, 19), (ONE, ACT, RD, 7), (ONE, ACT, WR, 7), (ONE, ACT, PRE, 17),
    (ONE, PRE, ACT, 7), (ONE, RD, PRE, 3), (ONE, WR, PRE, 14),
)  # fmt: skip
FOUR_ACTIVATES = 15


def decode(address: int, channels: int) -> tuple[int, int, int]:
    """(channel, bank of the channel, row) of a 16-byte transfer by the general rule of §4.2."""
    value = address // 16
    column = value % (1 << COLUMN_LOW)
    value >>= COLUMN_LOW
    counts = (channels, RANKS, GROUPS, BANKS)
    fields = []
    for count in counts:
        fields.append(value % count)
        value //= count
    left = COLUMN_BITS - COLUMN_LOW
    column += value % (1 << left) << COLUMN_LOW
    row, used = value >> left, 0
    for level, count in enumerate(counts):
        fields[level] ^= (column >> used) % count
        used += count.bit_length() - 1
    row ^= column >> used
    channel, rank, group, bank = fields
    return channel, (rank * GROUPS + group) * BANKS + bank, row


class Channel:
    """State of one channel between commands; `tick` is the number of the tick done last."""

    def __init__(self):
        self.tick = 0
        self.open = [None] * ALL
        self.ready = [[0] * ALL for _ in range(4)]
        self.activates = [deque(maxlen=4) for _ in range(RANKS)]

    def record(self, command, bank):
        """Registers after a command at `tick` (§4.6)."""
        for banks, preceding, following, clocks in RULES:
            if preceding == command:
                row, since = self.ready[following], self.tick + clocks
                for other in range(bank // banks * banks, bank // banks * banks + banks):
                    if row[other] < since:
                        row[other] = since
        if command == ACT:
            recent = self.activates[bank // PSEUDO]
            recent.append(self.tick)
            if len(recent) == 4:
                row, since = self.ready[ACT], recent[0] + FOUR_ACTIVATES
                for other in range(bank // PSEUDO * PSEUDO, bank // PSEUDO * PSEUDO + PSEUDO):
                    row[other] = max(row[other], since)

    def run(self, requests, write: bool, first_tick: int) -> int:
        """Serve `requests` [(bank, row)] submitted before `first_tick`: the tick of the last completion."""
        column = WR if write else RD
        waiting, queue, active, last = deque(requests), [], [], 0
        self.tick = first_tick - 1
        while waiting or queue or active:
            while waiting and len(queue) < ROOM:
                queue.append((*waiting.popleft(), self.tick))
            self._next_command(queue, active, column)
            if self._served:
                last = self.tick + (WRITE_LATENCY if write else READ_LATENCY)
        return last

    def _next_command(self, queue, active, column):
        """Let ticks pass up to the first in which something is chosen (§4.5), and issue it."""
        self._served = False
        start = self.tick + 1
        best_active = min(((max(self.ready[column][b], start), arrive, b, r) for b, r, arrive in active), default=None)
        chosen, when = None, NEVER
        for position, (bank, row, _) in enumerate(queue):
            command = ACT if self.open[bank] is None else column if self.open[bank] == row else PRE
            at = max(self.ready[command][bank], start)
            if at < when:
                when, chosen = at, (position, command, bank, row)
        if best_active is not None and best_active[0] <= when:
            self.tick, arrive, bank, row = best_active
            active.remove((bank, row, arrive))
            self.record(column, bank)
            self._served = True
            return
        self.tick = when
        position, command, bank, row = chosen
        if command == PRE and any(other == bank for other, _, _ in active):
            return  # §4.5 d: the tick is lost
        self.record(command, bank)
        if command == PRE:
            self.open[bank] = None
            return
        request = queue.pop(position)
        if command == ACT:
            self.open[bank] = row
            active.append(request)
        else:
            self._served = True


class Memory:
    """All channels and the number of the last tick."""

    def __init__(self, channels: int):
        self.count = channels
        self.channels = [Channel()] * channels
        self.last_tick = 0

    def batch(self, lines, write: bool, now: int) -> int:
        """Run one batch submitted at `now` ps: the instant of its end; an empty one takes no time."""
        if not lines:
            return now
        first_tick = max(-(-now // PERIOD), self.last_tick + 1)
        fifos: dict[int, list] = {}
        for line in lines:
            for offset in range(0, 64, 16):
                channel, bank, row = decode(line + offset, self.count)
                fifos.setdefault(channel, []).append((bank, row))
        end, done = 0, {}
        for number, requests in fifos.items():
            key = (id(self.channels[number]), tuple(requests))
            if key not in done:
                before = self.channels[number]
                after = copy.deepcopy(before)
                done[key] = (before, after, after.run(requests, write, first_tick))
            self.channels[number] = done[key][1]
            end = max(end, done[key][2])
        self.last_tick = end
        return end * PERIOD

    def transfer(self, plan, now: int) -> int:
        """Run the phases of a DMA (§7.3) that starts at `now`: the instant of its end."""
        return self.batch(plan.writes, True, self.batch(plan.reads, False, now))
