"""Does every point travel once, in batches that grow with what was measured and shrink at the end?"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plena_emu.sweeping.batches import MOST_POINTS, Batches
from plena_emu.sweeping.points import Point


def points(groups):
    """Points of groups with so many each."""
    return [Point(f"{group}-{n}", {}, {}, str(group)) for group, count in enumerate(groups) for n in range(count)]


def drive(waiting, workers, cost, rounds=100_000):
    """Let workers take batches in turn, each point of which takes `cost(point)`; returns (worker, batch) pairs."""
    taken = []
    for number in range(rounds):
        batch = waiting.take(number % workers, workers)
        if not batch and not len(waiting):
            return taken
        taken.append((number % workers, batch))
        for point in batch:
            waiting.measured(point.group, cost(point))
    raise AssertionError("no end")


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 5), st.floats(1e-7, 3.0))
def test_every_point_comes_once(groups, workers, cost):
    all_points = points(groups)
    taken = drive(Batches(all_points), workers, lambda point: cost)
    assert sorted(point.id for _, batch in taken for point in batch) == sorted(point.id for point in all_points)
    assert max(len(batch) for _, batch in taken) <= MOST_POINTS


def test_batches_last_as_long_as_they_should():
    taken = drive(Batches(points([4000])), 2, lambda point: 0.01)
    sizes = [len(batch) for _, batch in taken]
    assert sizes[0] == 1 and max(sizes) == 100 and sizes[-1] == 1
    large = drive(Batches(points([20_000])), 400, lambda point: 0.1)
    assert max(len(batch) for _, batch in large) == 25  # an even share, where workers are many
    cheap = drive(Batches(points([10_000_000 // 100])), 2, lambda point: 1e-9)
    assert max(len(batch) for _, batch in cheap) == MOST_POINTS


def test_programs_of_one_point_each_share_batches():
    sizes = [len(batch) for _, batch in drive(Batches(points([1] * 300)), 2, lambda point: 0.05)]
    assert max(sizes) == 20 and len(sizes) < 40


def test_a_worker_stays_with_its_program_until_others_need_help():
    taken = drive(Batches(points([50, 50])), 2, lambda point: 0.3)
    of_worker = {worker: [point.group for one, batch in taken if one == worker for point in batch] for worker in (0, 1)}
    assert set(of_worker[0][:25]) == {"0"} and set(of_worker[1][:25]) == {"1"}


def test_a_slow_first_point_does_not_make_the_next_batch_small():
    waiting = Batches(points([1000]))
    waiting.measured("0", 5.0)
    waiting.measured("0", 0.01)
    assert len(waiting.take("w", 1)) == 100


def test_points_that_come_back_come_alone_and_first():
    all_points = points([10])
    waiting = Batches(all_points)
    waiting.measured("0", 0.001)
    batch = waiting.take("w", 1)
    waiting.again_alone(batch)
    assert [waiting.take("w", 1) for _ in batch] == [[point] for point in batch]
    assert len(waiting) == 10 - len(batch)


def test_points_that_others_ran_meanwhile_are_skipped():
    known = {f"0-{n}" for n in range(0, 10, 2)}
    waiting = Batches(points([10]), known.__contains__)
    taken = [point.id for _, batch in drive(waiting, 1, lambda point: 0.1) for point in batch]
    assert taken == [f"0-{n}" for n in range(1, 10, 2)] and waiting.skipped == 5
