"""Batches of lines on any DRAM, tick by tick for all channels at once (spec §7.4, general form §7.12).

Slower than `channels` and more general: any configuration of the chapter 4 oracle, refresh in idle ticks, and lines
that wait for the host before they are submitted.
"""

from collections import deque

from ..dram import CHANNEL, WR, Channel, Config, Request


class TickedMemory:
    """All channels of a configuration; tick k is at instant k * period."""

    def __init__(self, config: Config):
        self.config = config
        self.channels = [Channel(config) for _ in range(config.counts[CHANNEL])]
        self.tick_number = 0  # ticks done
        self.last_tick = 0  # of the batch before

    def _tick(self) -> list:
        """Run one tick of every channel; the lines of which something completes in it, or in the next for a write."""
        self.tick_number += 1
        done = []
        for channel in self.channels:
            commands = len(channel.commands)
            read = channel.tick()
            if read is not None:
                done.append((read.owner, self.tick_number))
            for _, command, request in channel.commands[commands:]:
                if command == WR:
                    done.append((request.owner, self.tick_number + 1))
        return done

    def batch(self, lines, write: bool, now: int, waits=None, links=None) -> int:
        """Run a batch submitted at `now` ps: the instant of its end.

        `waits` are ps that a line waits before it is submitted; lines with a link of 1 wait one after the other, each
        from the end of the one before.
        """
        count, period = len(lines), self.config.period
        if count == 0:
            return now
        waits, links = waits or [0] * count, links or [0] * count
        due = sorted((now + waits[i], i) for i in range(count) if not links[i])
        streamed = deque(i for i in range(count) if links[i])
        if streamed:
            due.append((now + waits[streamed[0]], streamed[0]))
        parts = 64 // self.config.transfer
        left = [parts] * count
        latest = [0] * count
        fifos = [deque() for _ in self.channels]
        while self.tick_number < max(-(-now // period), self.last_tick + 1) - 1:
            self._tick()
        while any(left):
            for instant, line in sorted(due):
                if instant <= (self.tick_number + 1) * period:
                    due.remove((instant, line))
                    for part in range(parts):
                        request = Request(self.config, lines[line] + part * self.config.transfer, write, line)
                        fifos[request.channel].append(request)
            for channel, fifo in zip(self.channels, fifos, strict=True):
                while fifo and channel.send(fifo[0]):
                    fifo.popleft()
            for line, tick in self._tick():
                left[line] -= 1
                latest[line] = max(latest[line], tick)
                if left[line] == 0 and streamed and streamed[0] == line:
                    streamed.popleft()
                    if streamed:
                        due.append((tick * period + waits[streamed[0]], streamed[0]))
        self.last_tick = max(latest)
        return self.last_tick * period
