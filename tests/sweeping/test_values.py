"""Are values read as docs/sweep.md says: lists, doubling, steps, geometric ranges, and one line for what is wrong?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plena_emu.errors import UsageError
from plena_emu.sweeping.keys import key_of, read_axis

M, G = 2**20, 2**30


@pytest.mark.parametrize("key, written, expected", [
    ("ddr_capacity", "2M..16M", [2 * M, 4 * M, 8 * M, 16 * M]),
    ("ddr_capacity", "2M..15M", [2 * M, 4 * M, 8 * M]),
    ("ddr_capacity", "2M..32M/3", [2 * M, 8 * M, 32 * M]),
    ("ddr_capacity", ["1G", 4096, "1M, 2M"], [G, 4096, M, 2 * M]),
    ("ddr_capacity", "1..4/4", [1, 2, 3, 4]),
    ("ddr_capacity", [None, "1M"], [None, M]),
    ("ddr_capacity", "default,1M", [None, M]),
    ("host_bandwidth", "1M..4M", [10**6, 2 * 10**6, 4 * 10**6]),
    ("host_bandwidth", "1.5GB/s", [1_500_000_000]),
    ("layers", "2..5", [2, 3, 4, 5]),
    ("prefill", "64..256:64", [64, 128, 192, 256]),
    ("clock_mhz", "100..102", [100.0, 101.0, 102.0]),
    ("clock_mhz", "100..400/3", [100.0, pytest.approx(200), 400.0]),
    ("clock_mhz", [133.5, 100], [133.5, 100.0]),
    ("board.latency.vector_add", "2..4", [2, 3, 4]),
    ("board.memory.dram", "hbm2,ddr4", ["hbm2", "ddr4"]),
    ("board.memory.capacity_bytes", "1M..4M", [M, 2 * M, 4 * M]),
    ("dram.data_bus", "rank", ["rank"]),
    ("board.power.tdp_watts", "7.5", [7.5]),
    ("board.latency.dc_lib_en", "true,false", [True, False]),
    ("reference_timing", "true", [True]),
    ("reference_timing", [True, False], [True, False]),
    ("build", ["a..b", "c"], ["a..b", "c"]),
])
def test_values(key, written, expected):
    found = read_axis(key, written)
    assert found == expected and list(map(type, found)) == [type(value) for value in read_axis(key, found)]


def test_nine_points_keep_their_ends_and_their_ratio():
    found = read_axis("ddr_capacity", "2M..1G/9")
    assert len(found) == 9 and (found[0], found[-1]) == (2 * M, G)
    ratios = [b / a for a, b in zip(found, found[1:], strict=False)]
    assert max(ratios) / min(ratios) < 1.000001


@given(st.integers(1, 2**40), st.integers(0, 2**40), st.integers(2, 50))
def test_geometric_ranges_rise_between_their_ends(first, more, count):
    found = read_axis("ddr_capacity", f"{first}..{first + more}/{count}")
    assert found[0] == first and found[-1] == first + more and found == sorted(set(found)) and len(found) <= count


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 100))
def test_stepped_ranges_are_those_of_python(first, more, step):
    assert read_axis("layers", f"{first}..{first + more}:{step}") == list(range(first, first + more + 1, step))


@pytest.mark.parametrize("key, written, message", [
    ("ddr_capacity", "4M..2M", "ddr_capacity: range '4M..2M': begins at 4M and ends at 2M"),
    ("ddr_capacity", "0..4M", "which no doubling leaves"),
    ("ddr_capacity", "1M,1024K", "ddr_capacity: found 1048576 twice"),
    ("ddr_capacity", "1X", "ddr_capacity: size '1X'"),
    ("ddr_capacity", "1M..4M/1", "expected 2 to"),
    ("ddr_capacity", "1M..4M/x", "number of points 'x'"),
    ("ddr_capacity", "0..4M/3", "a range above 0"),
    ("ddr_capacity", [], "ddr_capacity: found no value"),
    ("ddr_capacity", True, "ddr_capacity: found true, expected a size"),
    ("ddr_capacity", {"a": 1}, "expected a size"),
    ("layers", "1..9:0", "found a step of 0"),
    ("layers", "1..1000000000", "has 1000000000 values"),
    ("layers", "1.5", "layers: number '1.5'"),
    ("clock_mhz", "nan", "clock_mhz: number 'nan'"),
    ("clock_mhz", "fast", "clock_mhz: number 'fast'"),
    ("memory_model", "hbm,residnt", "memory_model: found 'residnt', expected one of hbm, layer-swap"),
    ("reference_timing", "yes", "flag 'yes'"),
    ("board", "", "board: found an empty name"),
])
def test_what_is_no_value(key, written, message):
    with pytest.raises(UsageError) as raised:
        read_axis(key, written)
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("key, hint", [("bord", "board perhaps"), ("ddr-capacity", "ddr_capacity perhaps"),
                                       ("x.y", "expected one of"), ("board.", "board"), ("board..x", "expected")])
def test_unknown_keys(key, hint):
    with pytest.raises(UsageError, match="unknown key") as raised:
        key_of(key)
    assert hint in str(raised.value)
