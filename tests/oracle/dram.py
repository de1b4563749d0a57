"""A plain, slow DRAM model straight from the specification, to check the kernels against.

Everything is done one tick and one request at a time: no skipping, no cached readiness, no
shared code with the package (its timing tables are literals of their own). Chapter 4 of the
specification is followed section by section; names in comments are its section numbers.
"""

import heapq
from collections import deque

ACT, PRE, RD, WR, PREA, REF = "ACT", "PRE", "RD", "WR", "PREA", "REF"
CHANNEL, RANK, GROUP, BANK = range(4)
NEVER = -(1 << 60)


class Config:
    """Organisation and timing of one memory.

    `rows` are (level, after, before, cycles, window): `window` 1 counts from this command, w from
    the w-th last one (this one included) on the same node.
    """

    def __init__(self, *, period, transfer, counts, column_low, column_bits, latency, rows,
                 refresh_interval=0, refresh_length=0, queue=32, high=0.8, low=0.2, place=None):
        self.period = period
        self.transfer = transfer
        self.counts = counts
        self.column_low = column_low
        self.column_bits = column_bits
        self.latency = latency
        self.rows = rows
        self.refresh_interval = refresh_interval
        self.refresh_length = refresh_length
        self.queue = queue
        self.high = high
        self.low = low
        self.place = place  # another mapping than that of §4.2, as a function of the address


def hbm2(revision="base"):
    """The `hbm2` configuration of §4.1, §4.2, §4.6."""
    burst = {"base": 4, "moe": 2}[revision]
    rows = [
        (CHANNEL, ACT, ACT, 2, 1), (CHANNEL, ACT, PRE, 2, 1),
        (RANK, ACT, ACT, 2, 1), (RANK, ACT, ACT, 15, 4),
        (RANK, RD, RD, burst, 1), (RANK, WR, WR, burst, 1), (RANK, RD, WR, 11, 1), (RANK, WR, RD, 9, 1),
        (GROUP, RD, RD, 2, 1), (GROUP, WR, WR, 2, 1), (GROUP, WR, RD, 10, 1), (GROUP, ACT, ACT, 3, 1),
        (BANK, ACT, ACT, 19, 1), (BANK, ACT, RD, 7, 1), (BANK, ACT, WR, 7, 1), (BANK, ACT, PRE, 17, 1),
        (BANK, PRE, ACT, 7, 1), (BANK, RD, PRE, 3, 1), (BANK, WR, PRE, 14, 1),
    ]
    return Config(period=1000, transfer=16, counts=(8, 2, 4, 4), column_low=2, column_bits=5, latency=11, rows=rows)


def ddr4(revision="base"):
    """The `ddr4` configuration of §4.1, §4.2, §4.6, §4.7."""
    rows = []
    for kind in (RD, WR):
        rows += [(CHANNEL, kind, kind, 4, 1), (RANK, kind, kind, 4, 1), (GROUP, kind, kind, 6, 1)]
    rows += [
        (RANK, RD, WR, 10, 1), (RANK, WR, RD, 19, 1), (RANK, ACT, ACT, 4, 1), (RANK, ACT, ACT, 26, 4),
        (RANK, RD, PREA, 9, 1), (RANK, WR, PREA, 34, 1), (RANK, ACT, PREA, 39, 1),
        (RANK, PREA, ACT, 16, 1), (RANK, PREA, REF, 16, 1), (RANK, PRE, REF, 16, 1), (RANK, ACT, REF, 55, 1),
        (RANK, REF, ACT, 433, 1), (RANK, REF, PREA, 433, 1),
        (GROUP, WR, RD, 25, 1), (GROUP, ACT, ACT, 6, 1),
        (BANK, ACT, ACT, 55, 1), (BANK, ACT, RD, 16, 1), (BANK, ACT, WR, 16, 1), (BANK, ACT, PRE, 39, 1),
        (BANK, PRE, ACT, 16, 1), (BANK, RD, PRE, 9, 1), (BANK, WR, PRE, 34, 1),
    ]
    return Config(period=833, transfer=64, counts=(1, 1, 4, 4), column_low=2, column_bits=7, latency=20, rows=rows,
                  refresh_interval=9364, refresh_length=433)


def decode(config, address):
    """§4.2: (channel, rank, bank group, bank, row, column) of a byte address."""
    if config.place is not None:
        return config.place(address)
    value = address // config.transfer
    column = value % (1 << config.column_low)
    value >>= config.column_low
    fields, widths = [], []
    for count in config.counts:
        bits = count.bit_length() - 1
        fields.append(value % (1 << bits))
        widths.append(bits)
        value >>= bits
    left = config.column_bits - config.column_low
    column |= (value % (1 << left)) << config.column_low
    fields.append(value >> left)
    widths.append(None)  # the row takes whatever column bits are left
    used = 0
    for level, bits in enumerate(widths):
        if bits == 0:
            continue
        part = column >> used
        fields[level] ^= part if bits is None else part % (1 << bits)
        used += bits or 0
    return (*fields, column)


class Request:
    """One transfer: a read or write of one burst, or a refresh of a rank."""

    def __init__(self, config, address, write, owner, first_attempt=0):
        self.address = address
        self.write = write
        self.owner = owner
        channel, rank, group, bank, self.row, _ = decode(config, address)
        self.channel = channel
        self.nodes = ((), (rank,), (rank, group), (rank, group, bank))
        self.bank = self.nodes[BANK]
        self.arrive = None
        self.departure = None
        self.first_attempt = first_attempt
        self.counted = False


class Refresh:
    def __init__(self, rank):
        self.nodes = ((), (rank,))


class Channel:
    """§4.3 to §4.7 for one channel."""

    def __init__(self, config):
        self.config = config
        self.clk = 0
        self.reads, self.writes, self.active, self.priority = [], [], [], []
        self.returns = deque()
        self.write_mode = False
        self.open = {}
        self.earliest = {}
        self.history = {}
        self.refreshing_until = {}
        self.commands = []
        self.hits = self.misses = self.conflicts = self.refreshes = self.rejected = 0

    def send(self, request):
        """§4.3; False when rejected."""
        if not request.write and any(w.address == request.address for w in self.writes):
            request.departure = self.clk + 1
            self.returns.append(request)
            return True
        queue = self.writes if request.write else self.reads
        if len(queue) > self.config.queue:
            self.rejected += 1
            return False
        request.arrive = self.clk
        queue.append(request)
        return True

    def want(self, request):
        row = self.open.get(request.bank)
        if row is None:
            return ACT
        if row == request.row:
            return WR if request.write else RD
        return PRE

    def ready(self, command, nodes):
        return all(self.clk >= self.earliest.get((level, node, command), NEVER) for level, node in enumerate(nodes))

    def best(self, queue):
        """§4.5: (request, command, is ready) or None."""
        chosen = None
        for position, request in enumerate(queue):
            command = self.want(request)
            ready = self.ready(command, request.nodes)
            rank = (not ready, request.arrive, position)
            if chosen is None or rank < chosen[0]:
                chosen = (rank, request, command, ready)
        return chosen and chosen[1:]

    def tick(self):
        """§4.4: one clock; returns the read completed in it, or None."""
        self.clk += 1
        for rank, until in list(self.refreshing_until.items()):
            if self.clk >= until:
                del self.refreshing_until[rank]
        done = None
        if self.returns and self.returns[0].departure <= self.clk:
            done = self.returns.popleft()
        if self.config.refresh_interval and self.clk % self.config.refresh_interval == 0:
            self.priority += [Refresh(rank) for rank in range(self.config.counts[RANK])]
        choice = self.choose()
        if choice:
            self.issue(*choice)
        return done

    def choose(self):
        best = self.best(self.active)
        if best and best[2]:
            return best[:2]
        if self.priority:
            request = self.priority[0]
            rank = request.nodes[RANK]
            command = PREA if any(bank[:1] == rank for bank in self.open) else REF
            if not self.ready(command, request.nodes):
                return None
            if command == PREA and any(a.nodes[RANK] == rank for a in self.active):
                return None
            return request, command
        self.update_mode()
        best = self.best(self.writes if self.write_mode else self.reads)
        if not best or not best[2]:
            return None
        if best[1] == PRE and any(a.bank == best[0].bank for a in self.active):
            return None
        return best[:2]

    def update_mode(self):
        reads, writes = len(self.reads), len(self.writes)
        if not self.write_mode:
            self.write_mode = writes > self.config.high * self.config.queue or reads == 0
        elif writes < self.config.low * self.config.queue and reads > 0:
            self.write_mode = False

    def issue(self, request, command):
        self.commands.append((self.clk, command, request))
        self.record(command, request.nodes)
        if isinstance(request, Refresh):
            rank = request.nodes[RANK]
            if command == PREA:
                self.open = {bank: row for bank, row in self.open.items() if bank[:1] != rank}
            else:
                self.refreshes += 1
                self.refreshing_until[rank] = self.clk + self.config.refresh_length - 1
                self.priority.pop(0)
            return
        if not request.counted:
            request.counted = True
            self.hits += command in (RD, WR)
            self.misses += command == ACT
            self.conflicts += command == PRE
        if command == PRE:
            del self.open[request.bank]
            return
        for queue in (self.active, self.reads, self.writes):
            if request in queue:
                queue.remove(request)
        if command == ACT:
            self.open[request.bank] = request.row
            self.active.append(request)
        elif command == RD:
            request.departure = self.clk + self.config.latency
            self.returns.append(request)

    def record(self, command, nodes):
        """§4.6: the registers after `command`."""
        for level, after, before, cycles, window in self.config.rows:
            if after != command or level >= len(nodes):
                continue
            start = self.clk
            if window > 1:
                recent = self.history.setdefault((level, nodes[level], command), deque(maxlen=window))
                recent.append(self.clk)
                if len(recent) < window:
                    continue
                start = recent[0]
            key = (level, nodes[level], before)
            self.earliest[key] = max(self.earliest.get(key, NEVER), start + cycles)


class Loop:
    """§4.10: ready tasks first in, first out; then the timers of the next instant."""

    def __init__(self):
        self.now = 0
        self.queue = deque()
        self.timers = []
        self.created = 0

    def number(self):
        self.created += 1
        return self.created

    def timer(self, at, wake, number=None):
        heapq.heappush(self.timers, (at, self.number() if number is None else number, wake))

    def run(self):
        while True:
            while self.queue:
                self.queue.popleft()()
            if not self.timers:
                return
            self.now = self.timers[0][0]
            while self.timers and self.timers[0][0] == self.now:
                heapq.heappop(self.timers)[2]()


class Semaphore:
    """One permit, handed to the longest waiter at once."""

    def __init__(self):
        self.holder = None
        self.waiters = deque()

    def take(self, who):
        """True when `who` holds the permit now; queues it otherwise."""
        if self.holder is None:
            self.holder = who
        elif self.holder is not who and who not in self.waiters:
            self.waiters.append(who)
        return self.holder is who

    def give(self):
        self.holder = self.waiters.popleft() if self.waiters else None
        if self.holder is not None:
            self.holder.wake()


class Sub:
    """§4.9: one transfer on its way through the front end."""

    def __init__(self, access, address):
        self.access = access
        self.address = address
        self.retry_at = None
        self.request = None
        self.accepted = self.done = False

    def wake(self):
        self.access.wake()

    def poll(self):
        if self.accepted:
            return
        front = self.access.front
        lock = front.write_lock if self.access.write else front.read_lock
        if not lock.take(self):
            return
        if self.retry_at is not None and front.loop.now < self.retry_at:
            return
        if self.request is None:
            self.request = Request(front.config, self.address, self.access.write, self, front.loop.now)
        if not front.submit(self.request):
            self.retry_at = front.loop.now + front.config.period
            front.loop.timer(self.retry_at, self.wake)
            return
        self.accepted = True
        self.access.accept = front.loop.now
        self.done = self.access.write
        lock.give()

    def complete(self):
        self.done = True
        self.wake()


class Access:
    """A 64-byte access: host link, wait, then its sub-requests."""

    def __init__(self, front, address, write, wait=0, link=False):
        self.front = front
        self.write = write
        self.wait = wait
        self.link = link
        self.subs = [Sub(self, address + offset) for offset in range(0, 64, front.config.transfer)]
        self.ready_at = None
        self.issue = self.accept = self.finish = None
        self.wake = None

    def poll(self):
        """True when finished."""
        loop = self.front.loop
        if self.issue is None:
            self.issue = loop.now
        if self.link and not self.front.link.take(self):
            return False
        if self.wait and self.ready_at is None:
            self.ready_at = loop.now + self.wait
            loop.timer(self.ready_at, self.wake)
        if self.wait and loop.now < self.ready_at:
            return False
        for sub in self.subs:
            sub.poll()
        if not all(sub.done for sub in self.subs):
            return False
        self.finish = loop.now
        if self.link:
            self.front.link.give()
        return True


class FrontEnd:
    """§4.9: the clock, the locks and the sub-requests under way."""

    def __init__(self, config):
        self.config = config
        self.loop = Loop()
        self.channels = [Channel(config) for _ in range(config.counts[CHANNEL])]
        self.next = 0
        self.pending = 0
        self.read_lock, self.write_lock, self.link = Semaphore(), Semaphore(), Semaphore()
        self.read_latencies = []

    def tick(self):
        for channel in self.channels:
            done = channel.tick()
            if done is not None:
                self.pending -= 1
                self.read_latencies.append(self.loop.now - done.first_attempt)
                done.owner.complete()
        self.next += self.config.period

    def submit(self, request):
        if self.pending == 0:
            while self.next < self.loop.now:
                self.tick()
        if not self.channels[request.channel].send(request):
            return False
        if not request.write:
            if self.pending == 0:
                self.schedule()
            self.pending += 1
        return True

    def schedule(self):
        at, number = self.next, self.loop.number()

        def event():
            if self.loop.now < at:
                self.loop.timer(at, lambda: self.loop.queue.append(event), number)
                return
            self.tick()
            if self.pending:
                self.schedule()

        self.loop.queue.append(event)


class Gather:
    """§4.10: a task that owns a batch of accesses."""

    def __init__(self, front, accesses):
        self.loop = front.loop
        self.left = set(accesses)
        self.woken = deque(accesses)
        self.queued = set(accesses)
        self.flag = set()
        self.armed = False
        self.joiner = None
        for access in accesses:
            access.wake = lambda access=access: self.wake(access)
        self.loop.queue.append(self.run)

    def wake(self, access):
        if access not in self.left:
            return
        self.flag.add(access)
        if access in self.queued:
            return
        self.queued.add(access)
        self.woken.append(access)
        if self.armed:
            self.armed = False
            self.loop.queue.append(self.run)

    def run(self):
        if not self.left:
            return
        while True:  # one turn
            self.armed = True
            count, polled, yielded = len(self.left), 0, 0
            while True:
                if not self.woken:
                    if not self.left and self.joiner:
                        self.loop.queue.append(self.joiner)
                    return
                access = self.woken.popleft()
                self.queued.discard(access)
                self.flag.discard(access)
                if access not in self.left:
                    continue
                if access.poll():
                    self.left.discard(access)
                    break
                polled += 1
                yielded += access in self.flag
                if polled == count or yielded == 2:
                    self.loop.queue.append(self.run)
                    return


class Core:
    """The task that starts batches: `program(core)` is a generator that yields whenever it waits."""

    def __init__(self, front, program):
        self.front = front
        self.loop = front.loop
        self.steps = program(self)
        self.loop.queue.append(self.wake_up)

    def wake_up(self):
        next(self.steps, None)

    def wake(self):
        self.loop.queue.append(self.wake_up)

    def sleep(self, until):
        if until > self.loop.now:
            self.loop.timer(until, self.wake)
        while self.loop.now < until:
            yield

    def join(self, gathers):
        for gather in gathers:
            gather.joiner = self.wake_up
            while gather.left:
                yield

    def alone(self, access):
        """Run one access by the core itself."""
        access.wake = self.wake
        while not access.poll():
            yield


def replay(config, kinds, times, batch, op, address, wait=None, link=None):
    """Run a trace in batch form; returns (front, issue, accept, done) with lists in access order."""
    front = FrontEnd(config)
    accesses = [
        Access(front, int(a), bool(o), int(wait[i]) if wait is not None else 0,
               bool(link[i]) if link is not None else False)
        for i, (o, a) in enumerate(zip(op, address, strict=True))
    ]
    members = [[] for _ in kinds]
    for i, b in enumerate(batch):
        members[b].append(accesses[i])

    def program(core):
        running = []
        for kind, at, mine in zip(kinds, times, members, strict=True):
            if kind == "S":
                yield from core.sleep(int(at))
            elif kind == "C":  # no more than `at` of its kind under way
                while sum(bool(gather.left) for gather in running) >= at:
                    yield
            else:
                yield from core.join(running)
                running = []
                yield from core.sleep(core.loop.now + int(at))
            if kind == "I":
                for access in mine:
                    yield from core.alone(access)
            else:
                running.append(Gather(front, mine))
                if kind == "C":
                    running[-1].joiner = core.wake_up
        yield from core.join(running)

    Core(front, program)
    front.loop.run()
    columns = [[getattr(a, name) for a in accesses] for name in ("issue", "accept", "finish")]
    return (front, *columns)
