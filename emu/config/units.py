"""Sizes and bandwidths as people write them on a command line (spec §5.1)."""

import re

from ..errors import EmuError, UsageError
from ..inputs.text import read_text
from ..inputs.words import cut, shown

_UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}
_SHIFTS = {"": 0} | {f"{unit}{tail}": shift for unit, shift in _UNITS.items() for tail in ("", "B", "IB")}
U64_MAX = 2**64 - 1
_DIGITS = "0123456789"
_DECIMAL = ("", "K", "M", "G", "T")  # powers of 1000
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kKMGT]?)(?:B|B/s|/s)?")


def parse_size(text: str) -> int:
    """Read a size: digits and an optional K, M, G or T (`K`, `KB`, `KiB`, any case), powers of 1024.

    Raises `UsageError` quoting the text when there is no number, the suffix is unknown or the size exceeds u64.

    Returns
    -------
    int
        Bytes.
    """
    digits = text[: len(text) - len(text.lstrip(_DIGITS))]
    suffix = text[len(digits):]
    if not digits:
        raise UsageError(f"size {_quoted(text)}: found no number, expected digits and perhaps a suffix (K, MB, GiB)")
    if suffix.upper() not in _SHIFTS:
        raise UsageError(f"size {_quoted(text)}: found suffix {_quoted(suffix)}, expected K, M, G or T, KB, KiB, ...")
    return _bounded(text, digits, _SHIFTS[suffix.upper()], "size")


def parse_positive_size(text: str) -> int:
    """Read a size as `parse_size` does, and refuse 0.

    Returns
    -------
    int
        Bytes.
    """
    size = parse_size(text)
    if size == 0:
        raise UsageError(f"size {_quoted(text)}: found 0, expected at least 1 byte")
    return size


def parse_bandwidth(text: str) -> int:
    """Read a bandwidth: digits only, not 0.

    Returns
    -------
    int
        Bytes a second.
    """
    number = parse_count(text, "bandwidth")
    if number == 0:
        raise UsageError(f"bandwidth {_quoted(text)}: found 0, expected at least 1 byte/s")
    return number


def parse_rate(text: str) -> int:
    """Read a bandwidth with an optional decimal point and unit: `60000000`, `1500M`, `1.5GB/s` (§10.1).

    K, M, G and T are powers of 1000, as links are sold; B and /s may follow. Raises `UsageError` quoting the text when
    it is none, not a whole number of bytes a second, 0, or more than u64.

    Returns
    -------
    int
        Bytes a second.
    """
    match = _RATE.fullmatch(text)
    if match is None or len(text) > 40:
        raise UsageError(f"bandwidth {_quoted(text)}: expected bytes a second such as 60000000, 1500M or 1.5GB/s"
                         " (powers of 1000)")
    from fractions import Fraction  # only where a rate is given

    rate = Fraction(match[1]) * 1000 ** _DECIMAL.index(match[2].upper())
    if rate.denominator != 1 or not 1 <= rate <= U64_MAX:
        raise UsageError(f"bandwidth {_quoted(text)}: expected a whole number of bytes a second, 1 to 2^64 - 1")
    return int(rate)


def parse_count(text: str, what: str = "number") -> int:
    """Read a u64 written in decimal digits.

    Returns
    -------
    int
    """
    if not text or text.strip(_DIGITS):
        raise UsageError(f"{what} {_quoted(text)}: expected decimal digits only")
    return _bounded(text, text, 0, what)


def read_hbm_size(path: str) -> int:
    """Read the bytes that an `hbm_size.txt` names (§5.6); raises `EmuError` when it holds no positive integer.

    Returns
    -------
    int
    """
    text = read_text(path, "HBM size").strip()
    try:
        size = parse_count(text)
    except UsageError:
        size = 0
    if size == 0:
        raise EmuError(f"HBM size {path}: found {shown(text)}, expected an HBM size in bytes, a positive integer")
    return size


def _bounded(text, digits, shift, what):
    digits = digits.lstrip("0") or "0"
    # The length test keeps int() from ever seeing thousands of digits.
    if len(digits) > 20 or (value := int(digits) << shift) > U64_MAX:
        raise UsageError(f"{what} {_quoted(text)}: does not fit in 64 bits")
    return value


def _quoted(text):
    return repr(cut(text))
