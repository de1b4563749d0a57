"""Board DDR (§3.5): the kernels against an event loop with real tasks and timers, and its library presets."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import memory

from plena_emu.errors import EmuError, UsageError
from plena_emu.memory.simple import DdrTiming, NaiveTiming, preset

TCK = 833
ROW = 1 << 14


def oracle(operations, channels=1, later=False, model=memory.Ddr):
    """Completion of every operation and the last event, by the event loop."""
    loop = memory.Loop()
    inner = model(loop) if model is memory.Naive else model(loop, channels, later)
    core = memory.Core(loop, memory.Given(loop, inner), operations)
    loop.run()
    return core.ends, loop.last


def product(operations, channels=1, revision="base"):
    """The same by the kernels."""
    ddr = DdrTiming(channels, revision)
    ends = []
    for kind, delta, requests in operations:
        ddr.idle(delta)
        addresses, waits, links = ([request[k] for request in requests] for k in range(3))
        ends.append(ddr.store(addresses) if kind == "store" else ddr.read(addresses, waits, links))
    return ends, ddr.last_ps


def plain(*addresses):
    return [(address, 0, False) for address in addresses]


# --- check values ------------------------------------------------------------------------------


def test_one_read_of_an_idle_memory():
    ddr = DdrTiming()
    assert ddr.read([0]) == 30821
    assert ddr.last_ps == 40817


def test_one_store_of_an_idle_memory():
    # The write finds its bank precharging and is granted at the end of that, without tRCD.
    ddr = DdrTiming()
    assert ddr.store([0]) == 40817 - 13328 + 13328 + 4 * TCK
    # Another bank for the write (address bits 10-13 against 6-9): a full activation.
    assert DdrTiming().store([0x400]) == 30821 + TCK + 16 * TCK + 4 * TCK


@pytest.mark.parametrize("asks, granted", [(48, 49), (49, 49 + 16)])
def test_a_bank_is_idle_exactly_when_its_precharge_ends(asks, granted):
    # In tCK: the first read releases the bank at 33, so its precharge ends at 49. Who asks before gets the bank then,
    # without tRCD; who asks then or later pays tRCD.
    ddr = DdrTiming()
    ddr.read([0])
    ddr.idle((asks - 1) * TCK - ddr.now_ps)
    assert ddr.read([ROW]) == (granted + 16 + 4) * TCK


def test_a_row_hit_overtakes_an_older_conflict():
    # The second and third read share the first one's bank; only the third its row.
    hit_last = DdrTiming().read([0, ROW, 0])
    hit_first = DdrTiming().read([0, 0, ROW])
    assert hit_last == hit_first == oracle([("prefetch", 0, plain(0, ROW, 0))])[0][0]


def test_addresses_above_2_63_are_mapped_like_any_other():
    assert product([("prefetch", 0, plain(2**64 - 64, 0, 2**63))]) == oracle(
        [("prefetch", 0, plain(2**64 - 64, 0, 2**63))]
    )


# --- against the event loop --------------------------------------------------------------------

addresses = st.builds(
    lambda bank, column, row: bank << 6 | column << 10 | row << 14,
    st.one_of(st.integers(0, 15), st.integers(0, 2)),
    st.integers(0, 3),
    st.integers(0, 2),
)
runs = st.builds(lambda first, count: [first + 64 * k for k in range(count)], addresses, st.integers(1, 70))
# Waits whose end can fall on that of other timers: 1000 n against 833 m.
waits = st.one_of(st.just(0), st.integers(1, 60).map(lambda n: 1000 * n), st.integers(1, 4).map(lambda n: 833_000 * n))
gaps = st.one_of(st.integers(0, 60).map(lambda n: n * TCK), st.integers(0, 100_000))


@st.composite
def operation(draw, hosted):
    chosen = draw(st.one_of(st.lists(addresses, min_size=1, max_size=40), runs))
    if draw(st.integers(0, 3)) == 0:
        return "store", draw(gaps), plain(*chosen[:8])
    if not hosted:
        return "prefetch", draw(gaps), plain(*chosen)
    line = draw(waits)
    link = draw(st.lists(st.booleans(), min_size=len(chosen), max_size=len(chosen)))
    own = draw(st.lists(waits, min_size=len(chosen), max_size=len(chosen)))
    together = draw(st.booleans())
    return "prefetch", draw(gaps), [
        (a, line if behind else own[k] if together else 0, behind)
        for k, (a, behind) in enumerate(zip(chosen, link, strict=True))
    ]


@given(st.lists(operation(hosted=False), min_size=1, max_size=5))
@settings(max_examples=120, deadline=None)
def test_batches_and_stores_follow_the_event_loop(operations):
    assert product(operations) == oracle(operations)


@given(st.lists(operation(hosted=True), min_size=1, max_size=4))
@settings(max_examples=120, deadline=None)
def test_reads_that_wait_for_the_host_follow_the_event_loop(operations):
    assert product(operations) == oracle(operations)


def streamed_batch(rng):
    """Half of the reads behind the link, all banks, few rows: conflicts and host transfers out of step."""
    line = 1000 * rng.randint(1, 20)
    links = [rng.random() < 0.5 for _ in range(rng.randint(20, 110))]
    rows = rng.randint(2, 4)
    return [(rng.randrange(16) << 6 | rng.randrange(rows) << 14, line * link, link) for link in links]


def swapped_batch(rng):
    """A long batch in which some host transfers end after 1000 tCK sharp, when it is still under way."""
    reads = rng.randint(250, 290)
    swapped = set(rng.sample(range(reads), rng.choice([1, 2, 5, 40])))
    banks, rows = rng.choice([2, 4, 16]), rng.randint(1, 4)
    return [
        (rng.randrange(banks) << 6 | rng.randrange(rows) << 14, 1000 * TCK * (k in swapped), False)
        for k in range(reads)
    ]


@pytest.mark.parametrize("batch, count", [(streamed_batch, 1000), (swapped_batch, 120)])
def test_simultaneous_events_keep_their_order(batch, count):
    """Cases in which the order of events of one instant shows in the result now and then (one in a hundred)."""
    rng = random.Random(20)
    for _ in range(count):
        operations = [("prefetch", TCK * rng.randint(0, 40), batch(rng)) for _ in range(2)]
        assert product(operations) == oracle(operations)


@given(st.lists(operation(hosted=True), min_size=1, max_size=3), st.sampled_from([2, 4, 8]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_presets_follow_the_event_loop(operations, channels, later):
    assert product(operations, channels, "moe" if later else "base") == oracle(operations, channels, later)


@given(st.lists(operation(hosted=False), min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_batch_depends_on_nothing_but_the_time_since_the_one_before(operations):
    """What a later start shifts by a constant is shifted by that constant: batches are functions of relative time."""
    ends, last = product(operations)
    kind, delta, requests = operations[0]
    shifted, shifted_last = product([(kind, delta + 12_345_678, requests), *operations[1:]])
    assert [end - 12_345_678 for end in shifted] == ends
    assert shifted_last - 12_345_678 == last


# --- the library -------------------------------------------------------------------------------


def test_one_channel_is_the_same_in_both_revisions():
    assert preset(1, "base").tolist() == preset(1, "moe").tolist()


@pytest.mark.parametrize("channels", [0, 3, -4, 1 << 17])
def test_a_preset_wants_a_power_of_two(channels):
    with pytest.raises(EmuError, match=f"{channels} channels, expected a power of two"):
        preset(channels)


def test_a_preset_wants_a_known_revision():
    with pytest.raises(EmuError, match="revision 'new', expected one of base, moe"):
        preset(1, "new")


def test_waits_are_whole_nanoseconds():
    with pytest.raises(EmuError, match="wait of 833 ps, expected whole nanoseconds"):
        DdrTiming().read([0], [833])


@pytest.mark.parametrize("memory", [DdrTiming, NaiveTiming])
@pytest.mark.parametrize("addresses", [5, None, "abc", [-1], [1.5], [2**64], [[1], [2]], [[1], [1, 2]], ["x"], [None]])
def test_addresses_are_u64(memory, addresses):
    with pytest.raises(UsageError, match=r"^addresses: found .*, expected integers from 0 to 2\^64 - 1$"):
        memory().read(addresses)


def test_other_arguments_of_the_library():
    with pytest.raises(UsageError, match="^waits: found 2, expected one for each of 1 addresses$"):
        DdrTiming().read([0], [1000, 2000])
    for odd in ("x", -1, None, 1.5):
        with pytest.raises(UsageError, match="^picoseconds: found"):
            DdrTiming().idle(odd)
    assert DdrTiming().read([2**64 - 64]) == DdrTiming().read([2**64 - 64], [0], [0])
    assert DdrTiming().read([]) == DdrTiming().now_ps == 0


def test_time_does_not_wrap():
    ddr = DdrTiming()
    with pytest.raises(EmuError, match="simulated time passes"):
        ddr.read([0, 64], [2**62 // 1000 * 1000, 0])
    ddr = DdrTiming()
    ddr.idle(2**62 - 100)
    with pytest.raises(EmuError, match="simulated time passes"):
        ddr.read([0])


def test_naive_timing_of_one_access():
    assert NaiveTiming().read([0]) == NaiveTiming().write([0]) == 17493


@given(st.lists(st.integers(0, 90), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_naive_timing_follows_the_event_loop(counts):
    naive = NaiveTiming()
    ends = [naive.read([64 * k for k in range(count)]) for count in counts]
    expected, _ = oracle([("prefetch", 0, plain(*range(0, 64 * count, 64))) for count in counts], model=memory.Naive)
    assert ends == expected
