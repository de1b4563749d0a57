"""Event-loop oracle of the board-DDR memory models, written from spec §3.4-§3.10 and §4.10.

Real tasks, real timers, a heap and no shortcut: slow and easy to check against the text. It imports nothing
of the package. Times are integer picoseconds.
"""

import heapq
from collections import deque

TCK = 833
CAS = TRCD = TRP = 16 * TCK
BURST = 4 * TCK


class Loop:
    """Single-threaded executor (§3.4): a FIFO of ready tasks and timers ordered by (time, creation)."""

    def __init__(self):
        self.now = 0
        self.last = 0  # instant of the last timer
        self.ready = deque()
        self.timers = []
        self.created = 0
        self.wake_current = None  # wakes whoever is being polled

    def timer(self, delay, wake):
        heapq.heappush(self.timers, (self.now + delay, self.created, wake))
        self.created += 1

    def sleep(self, delay):
        """Wait of the task or read that runs this generator."""
        due = []
        wake = self.wake_current
        self.timer(delay, lambda: (due.append(1), wake()))
        while not due:
            yield

    def later(self, delay, action):
        """Spawn a small task that acts after `delay`; its timer number is taken now (§4.10)."""
        fired = []

        def run():
            if fired and fired.pop():
                action()

        self.ready.append(run)
        self.timer(delay, lambda: (fired.append(1), self.ready.append(run)))

    def run(self):
        while True:
            while self.ready:
                self.ready.popleft()()
            if not self.timers:
                return
            self.now = self.last = self.timers[0][0]
            due = []
            while self.timers and self.timers[0][0] == self.now:
                due.append(heapq.heappop(self.timers)[2])
            for wake in due:
                wake()


class Semaphore:
    """FIFO permits: a released one goes to the longest waiter at once (§3.4)."""

    def __init__(self, loop, permits):
        self.loop = loop
        self.permits = permits
        self.waiters = deque()

    def take(self):
        if self.permits:
            self.permits -= 1
            return
        granted = []
        self.waiters.append((granted, self.loop.wake_current))
        while not granted:
            yield

    def give(self):
        if self.waiters:
            granted, wake = self.waiters.popleft()
            granted.append(1)
            wake()
        else:
            self.permits += 1


class Bank:
    """One bank: first-ready, first-come-first-served (§3.5)."""

    def __init__(self, loop):
        self.loop = loop
        self.idle = True
        self.queue = []  # (row, grant)

    def acquire(self, row):
        granted = []
        wake = self.loop.wake_current

        def grant():
            granted.append(1)
            wake()

        if self.idle:
            self.idle = False
            self.loop.later(TRCD, grant)
        else:
            self.queue.append((row, grant))
        while not granted:
            yield

    def release(self, row):
        if not self.queue:
            self.loop.later(TRP, self._precharged)
            return
        for at, (queued, grant) in enumerate(self.queue):
            if queued == row:
                del self.queue[at]
                grant()
                return
        self.loop.later(TRP + TRCD, self.queue.pop(0)[1])

    def _precharged(self):
        if self.queue:
            self.queue.pop(0)[1]()
        else:
            self.idle = True


class Ddr:
    """`SimpleTiming` (§3.5): `read` and `write` are chains of waits.

    `channels` widens one set of semaphores and banks (base revision) or multiplies it (later revision).
    """

    def __init__(self, loop, channels=1, later=False):
        self.loop = loop
        self.bits = channels.bit_length() - 1
        self.later = later
        sets, width = (channels, 1) if later else (1, channels)
        self.rd, self.wr, self.cmd, self.data = (
            [Semaphore(loop, permits * width) for _ in range(sets)] for permits in (16, 16, 1, 1)
        )
        self.banks = [[Bank(loop) for _ in range(16 * width)] for _ in range(sets)]

    def place(self, addr, bank_bit):
        """(channel, bank, row) of an address whose bank number begins at `bank_bit`."""
        if self.later:
            channel = (addr >> 6) % len(self.banks)
            bank = addr >> bank_bit + self.bits & 15
            return channel, self.banks[channel][bank], addr >> 14 + self.bits & 0xFFFF
        bank = (addr >> bank_bit) % len(self.banks[0])
        return 0, self.banks[0][bank], (addr >> 14 + self.bits) % 2 ** (16 - self.bits)

    def _command(self, channel=0):
        yield from self.cmd[channel].take()
        yield from self.loop.sleep(TCK)
        self.cmd[channel].give()

    def _burst(self, channel=0):
        yield from self.data[channel].take()
        yield from self.loop.sleep(BURST)
        self.data[channel].give()

    def read(self, addr):
        channel, bank, row = self.place(addr, 6)
        yield from self.rd[channel].take()
        yield from self._command(channel)
        yield from bank.acquire(row)
        yield from self.loop.sleep(CAS)
        bank.release(row)
        yield from self._burst(channel)
        self.rd[channel].give()

    def write(self, addr):
        channel, bank, row = self.place(addr, 10)
        yield from self.wr[channel].take()
        yield from self._command(channel)
        yield from bank.acquire(row)
        bank.release(row)
        yield from self._burst(channel)
        self.wr[channel].give()


class Naive:
    """`NaiveTiming` (§3.5): no banks."""

    def __init__(self, loop):
        self.loop = loop
        self.cmd, self.data = [Semaphore(loop, 1)], [Semaphore(loop, 1)]

    def read(self, addr):
        yield from Ddr._command(self)
        yield from self.loop.sleep(CAS)
        yield from Ddr._burst(self)

    write = read


def transfer_ns(size, bandwidth):
    return size * 10**9 // bandwidth


def region_of(manifest, addr):
    """First region in list order that contains `addr` (§3.6)."""
    for at, region in enumerate(manifest["regions"]):
        if region["offset"] <= addr < region["offset"] + region["size"]:
            return at, region
    return None, None


def kind_of(region):
    return region.get("kind", "weight")


class Model:
    """Regime over an inner DDR: `decide` is called when a read is first run."""

    def __init__(self, loop, manifest, capacity, bandwidth):
        self.loop = loop
        self.inner = Ddr(loop)
        self.link = Semaphore(loop, 1)
        self.manifest = manifest
        self.capacity = capacity
        self.bandwidth = bandwidth
        self.resident = []  # (key, size), oldest first
        self.used = 0
        self.line_ns = transfer_ns(64, bandwidth)

    def footprint(self, *kinds):
        return sum(r["size"] for r in self.manifest["regions"] if kind_of(r) in kinds)

    def swap_in(self, key, size, capacity):
        """True when `key` had to be fetched (§3.8)."""
        if any(entry[0] == key for entry in self.resident):
            return False
        while self.used + size > capacity and self.resident:
            self.used -= self.resident.pop(0)[1]
        self.resident.append((key, size))
        self.used += size
        return True

    def read(self, addr):
        link, ns = self.decide(addr)
        if link:
            yield from self.link.take()
        if ns:
            yield from self.loop.sleep(ns * 1000)
        yield from self.inner.read(addr)
        if link:
            self.link.give()

    def write(self, addr):
        yield from self.inner.write(addr)


class Given:
    """A bare DDR whose reads come as (address, wait in ps, behind the link)."""

    def __init__(self, loop, inner):
        self.loop = loop
        self.inner = inner
        self.link = Semaphore(loop, 1)

    def read(self, request):
        addr, wait, link = request
        if link:
            yield from self.link.take()
        if wait:
            yield from self.loop.sleep(wait)
        yield from self.inner.read(addr)
        if link:
            self.link.give()

    def write(self, request):
        yield from self.inner.write(request[0])


class HostStream(Model):
    weight = activation = 0

    def decide(self, addr):
        if addr >= self.manifest["activation_ceiling"] and region_of(self.manifest, addr)[1]:
            self.weight += 1
            return True, self.line_ns
        self.activation += 1
        return False, 0

    def line(self):
        return (
            f"Host-stream memory - weight reads: {self.weight} ({self.weight * 64} bytes) | "
            f"activation reads: {self.activation} ({self.activation * 64} bytes)"
        )


class LayerSwap(Model):
    swaps = bytes = ns = 0

    def decide(self, addr):
        region = region_of(self.manifest, addr)[1]
        if not region:
            return False, 0
        layer = region["layer_id"]
        size = sum(r["size"] for r in self.manifest["regions"] if r["layer_id"] == layer)
        if not self.swap_in(layer, size, self.capacity):
            return False, 0
        ns = transfer_ns(size, self.bandwidth)
        self.swaps, self.bytes, self.ns = self.swaps + 1, self.bytes + size, self.ns + ns
        return False, ns

    def line(self):
        return f"Layer-swap memory - swaps: {self.swaps} | swapped bytes: {self.bytes} | swap time: {self.ns} ns"


class Capacity(Model):
    name = "resident"
    resident_bytes = swapped = swaps = streamed = 0

    def __init__(self, loop, manifest, capacity, bandwidth):
        own = manifest.get("ddr_capacity_bytes")
        super().__init__(loop, manifest, capacity if own is None else own, bandwidth)

    def decide(self, addr):
        self.resident_bytes += 64
        return False, 0

    def line(self):
        return (
            f"Capacity model [{self.name}] - resident bytes: {self.resident_bytes} | kv swapped bytes: {self.swapped} "
            f"(swaps: {self.swaps}) | weight streamed bytes: {self.streamed}"
        )


class KvSwap(Capacity):
    name = "kv-swap"

    def decide(self, addr):
        region = region_of(self.manifest, addr)[1]
        if not region or kind_of(region) == "weight":
            return super().decide(addr)
        if not self.swap_in(region["offset"], region["size"], max(0, self.capacity - self.footprint("weight"))):
            return False, 0
        self.swaps, self.swapped = self.swaps + 1, self.swapped + region["size"]
        return False, transfer_ns(region["size"], self.bandwidth)


class WeightStream(Capacity):
    name = "weight-stream"

    def decide(self, addr):
        region = region_of(self.manifest, addr)[1]
        if not region or kind_of(region) != "weight":
            return super().decide(addr)
        self.streamed += 64
        return True, self.line_ns


MODELS = {
    "host-stream": HostStream,
    "layer-swap": LayerSwap,
    "resident": Capacity,
    "kv-swap": KvSwap,
    "weight-stream": WeightStream,
}


def build(loop, name, manifest, capacity=512 << 20, bandwidth=60_000_000):
    """Model of `--memory-model name`; `auto` as §3.9 resolves it."""
    if name == "auto":
        probe = Capacity(loop, manifest, capacity, bandwidth)
        weight, total = probe.footprint("weight"), probe.footprint("weight", "kv", "activation")
        name = "resident" if total <= probe.capacity else "kv-swap" if weight <= probe.capacity else "weight-stream"
    return MODELS[name](loop, manifest, capacity, bandwidth)


class Gather:
    """The task of one prefetch: owns its reads and runs the woken ones in wake order (§4.10)."""

    def __init__(self, loop, reads, finished):
        self.loop = loop
        self.reads = reads
        self.finished = finished  # called when the last read is done
        self.left = len(reads)
        self.armed = False
        self.queue = deque(range(self.left))
        self.queued = [True] * self.left
        loop.ready.append(self.run)

    def wake(self, at):
        if self.reads[at] is not None and not self.queued[at]:
            self.queued[at] = True
            self.queue.append(at)
            if self.armed:
                self.armed = False
                self.loop.ready.append(self.run)

    def run(self):
        if not self.left:
            return
        self.armed, limit, polled, yielded = True, self.left, 0, 0
        while self.queue:
            at = self.queue.popleft()
            self.queued[at] = False
            self.loop.wake_current = (lambda i: lambda: self.wake(i))(at)
            try:
                next(self.reads[at])
            except StopIteration:
                self.reads[at] = None
                self.left -= 1
                if not self.left:
                    self.finished()
                    return
                self.armed, limit, polled, yielded = True, self.left, 0, 0
                continue
            polled += 1
            yielded += self.queued[at]
            if polled == limit or yielded == 2:
                self.loop.ready.append(self.run)
                return


class Core:
    """Runs operations one after the other: ("prefetch", delta, addresses), ("store", delta, addresses)."""

    def __init__(self, loop, model, operations):
        self.loop = loop
        self.model = model
        self.read_bytes = self.written_bytes = 0
        self.ends = []  # completion of each operation
        self.end = 0
        self.body = self._body(operations)
        loop.ready.append(self.run)

    def run(self):
        self.loop.wake_current = self.wake
        next(self.body, None)

    def wake(self):
        self.loop.ready.append(self.run)

    def _body(self, operations):
        for kind, delta, addresses in operations:
            if delta:
                yield from self.loop.sleep(delta)
            if kind == "store":
                for addr in addresses:
                    yield from self.model.read(addr)
                    yield from self.model.write(addr)
                self.written_bytes += 64 * len(addresses)
            elif addresses:
                done = []
                reads = [self.model.read(addr) for addr in addresses]
                Gather(self.loop, reads, lambda: (done.append(1), self.wake()))  # noqa: B023
                while not done:
                    yield
                self.loop.wake_current = self.wake
            self.read_bytes += 64 * len(addresses)
            self.end = self.loop.now
            self.ends.append(self.end)

    def utilization(self):
        total = self.read_bytes + self.written_bytes
        if not self.end:
            return "0.00e0"
        mantissa, exponent = f"{total / (self.end * 1e-12):.2e}".split("e")
        return f"{mantissa}e{int(exponent)}"

    def line(self):
        return (
            f"Bytes read: {self.read_bytes} | Bytes written: {self.written_bytes} | "
            f"Utilization: {self.utilization()} bytes/sec"
        )


def simulate(name, manifest, operations, capacity=512 << 20, bandwidth=60_000_000):
    """Run `operations` on a fresh model: (core, model, latency in ps)."""
    loop = Loop()
    model = build(loop, name, manifest, capacity, bandwidth)
    core = Core(loop, model, operations)
    loop.run()
    return core, model, loop.last
