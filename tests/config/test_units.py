"""Do sizes and bandwidths parse as §5.1 says, and does every refusal quote the text?"""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plena_emu.config.units import parse_bandwidth, parse_positive_size, parse_rate, parse_size
from plena_emu.errors import EXIT_USAGE, UsageError

POWERS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


@given(st.integers(0, 2**24 - 1), st.sampled_from(sorted(POWERS)), st.sampled_from(["", "B", "iB"]), st.booleans())
def test_every_suffix_is_a_power_of_1024(number, unit, tail, lower):
    suffix = unit + (tail if unit else "")
    text = f"{number}{suffix.lower() if lower else suffix}"
    assert parse_size(text) == number * POWERS[unit]


@pytest.mark.parametrize("text, size", [
    ("0", 0), ("007", 7), ("512M", 2**29), ("512mib", 2**29), ("1Gb", 2**30), ("16777215T", 16777215 * 2**40),
    ("18446744073709551615", 2**64 - 1), ("0" * 5000 + "5", 5), ("0T", 0),
])
def test_sizes(text, size):
    assert parse_size(text) == size


BAD_SIZES = ["", "K", "MiB", "-1", "+1", "1.5G", "1e3", "0x10", "1_000", " 1", "1 ", "1 K", "1KK", "1B", "1iB", "1P",
             "1KiBB", "16777216T", "18446744073709551616", "9" * 5000, "１", "1\u00a0K", "1\n"]


@pytest.mark.parametrize("text", BAD_SIZES, ids=lambda text: repr(text[:12]))
def test_refused_sizes_are_quoted(text):
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert caught.value.exit_code == EXIT_USAGE
    assert repr(text)[:20] in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_zero_where_it_is_refused():
    assert parse_positive_size("1") == 1
    with pytest.raises(UsageError, match="'0K'.*found 0"):
        parse_positive_size("0K")


@given(st.integers(1, 2**64 - 1))
def test_bandwidths(number):
    assert parse_bandwidth(str(number)) == number


@pytest.mark.parametrize("text", ["", "0", "-1", "60M", "1.5", "fast", "18446744073709551616", "inf"])
def test_refused_bandwidths_are_quoted(text):
    with pytest.raises(UsageError, match="bandwidth") as caught:
        parse_bandwidth(text)
    assert repr(text) in str(caught.value)


@given(st.integers(1, 10**6), st.sampled_from("KMGT"), st.sampled_from(["", "B", "/s", "B/s"]))
def test_rates_are_powers_of_1000(number, unit, tail):
    """Decimal, as links are sold, where sizes are powers of 1024."""
    assert parse_rate(f"{number}{unit}{tail}") == number * 1000 ** (1 + "KMGT".index(unit))


@pytest.mark.parametrize("text, rate", [
    ("60000000", 60_000_000), ("1500M", 1_500_000_000), ("1.5GB/s", 1_500_000_000), ("4.75M", 4_750_000), ("7B/s", 7),
    ("0.001K", 1), ("1.0", 1), ("4.75kB/s", 4750), ("18446744073709551615", 2**64 - 1),
])
def test_rates(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "0", "0.0G", "1.5", "0.0001K", "-1", "1.5Gb/s", "1.5gb", "1GiB/s", "1 GB/s",
                                  "1e9", ".5G", "1.G", "G", "18446744073709551616", "99T9", "1" * 41, "1GB/h", "1G\n"])
def test_refused_rates_are_quoted(text):
    """A small b is a bit to whoever sells links: refused, not guessed."""
    with pytest.raises(UsageError, match="bandwidth") as caught:
        parse_rate(text)
    assert repr(text)[:20] in str(caught.value) and "\n" not in str(caught.value)


@given(st.text(max_size=12))
def test_any_text_parses_or_is_refused(text):
    for parse in (parse_size, parse_bandwidth, parse_rate):
        with contextlib.suppress(UsageError):
            assert parse(text) >= 0
