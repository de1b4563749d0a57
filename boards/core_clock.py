"""The core's clock as whole picoseconds: what one cycle takes on a board (spec §10.1)."""

import math

from plena_emu.errors import UsageError
from plena_emu.inputs.words import shown

SLOWEST_MHZ, FASTEST_MHZ = 0.001, 1e6
_PS_AT_1_MHZ = 10**6


def core_period_ps(clock_mhz: float) -> tuple[int, bool]:
    """Work out the picoseconds of a core cycle, 10^6 / `clock_mhz` of its decimal digits, rounded to nearest.

    Returns
    -------
    (int, bool)
        The period, and whether it is exact.
    """
    from fractions import Fraction  # only where there is a clock

    period = _PS_AT_1_MHZ / Fraction(str(clock_mhz))
    return round(period), period.denominator == 1


def parse_clock(text: str) -> float:
    """Read a clock in MHz, 0.001 to 1000000; raises `UsageError` quoting the text.

    Returns
    -------
    float
    """
    try:
        # Python's own numbers may hold underscores and the digits of any script.
        mhz = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        mhz = math.nan
    if not SLOWEST_MHZ <= mhz <= FASTEST_MHZ:
        raise UsageError(f"clock {text[:40]!r}: expected MHz, {SLOWEST_MHZ:g} to {FASTEST_MHZ:.0f}")
    return mhz


def check_clock(mhz: float, what: str = "clock") -> float:
    """Refuse a clock outside the range of a core; returns it.

    Raises
    ------
    UsageError
    """
    if isinstance(mhz, bool) or not isinstance(mhz, int | float) or not SLOWEST_MHZ <= mhz <= FASTEST_MHZ:
        raise UsageError(f"{what}: found {shown(mhz)}, expected a number of MHz, {SLOWEST_MHZ:g} to {FASTEST_MHZ:.0f}")
    return mhz
