"""Do sizes and bandwidths parse as §5.1 says, and does every refusal quote the text?"""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plena_emu.config.units import parse_bandwidth, parse_positive_size, parse_size
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


@given(st.text(max_size=12))
def test_any_text_parses_or_is_refused(text):
    for parse in (parse_size, parse_bandwidth):
        with contextlib.suppress(UsageError):
            assert parse(text) >= 0
