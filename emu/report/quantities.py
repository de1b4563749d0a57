"""Quantities as people read them: `32 GiB`, `884,736 bytes`, `8.349344 ms`, `2m 30.8 s`."""

_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def size(count: int) -> str:
    """Write bytes in the largest unit that leaves no fraction, or else with two decimals.

    Returns
    -------
    str
        `512 MiB`, `4.50 MiB`, `100 bytes`.
    """
    for unit, scale in _UNITS:
        if count >= scale:
            whole, rest = divmod(count, scale)
            return f"{whole:,} {unit}" if not rest else f"{count / scale:,.2f} {unit}"
    return f"{count:,} byte{'' if count == 1 else 's'}"


def byte_count(count: int) -> str:
    """Write bytes exactly, and in a larger unit where there is one.

    Returns
    -------
    str
        `536,870,912 bytes = 512 MiB`, `100 bytes`.
    """
    exact = f"{count:,} byte{'' if count == 1 else 's'}"
    return exact if count < 1024 else f"{exact} = {size(count)}"


def mib(count: int) -> str:
    """Write bytes as MiB with two decimals, for columns that are compared (§6.3).

    Returns
    -------
    str
    """
    return f"{count / 2**20:.2f} MiB"


def duration(seconds: float, digits: int = 3) -> str:
    """Write a time: below a second in ms with `digits` decimals, then in s, then in minutes and hours.

    Returns
    -------
    str
        `8.349344 ms`, `12.345 s`, `2m 30.8 s`, `1h 02m 05 s`.
    """
    if seconds < 1:
        return f"{1e3 * seconds:.{digits}f} ms"
    if seconds < 59.9995:
        return f"{seconds:.3f} s"
    tenths = round(10 * seconds)
    if tenths < 36000:
        return f"{tenths // 600}m {tenths % 600 / 10:04.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:,}h {minutes % 60:02}m {rest:02} s"


def milliseconds(picoseconds: int) -> str:
    """Write picoseconds, also less than 0, as milliseconds, exact: always nine decimals, so that columns align.

    Returns
    -------
    str
        `12.271747500 ms`.
    """
    sign, size = "-" if picoseconds < 0 else "", abs(picoseconds)
    return f"{sign}{size // 10**9:,}.{size % 10**9:09d} ms"


def time_unit(picoseconds: int) -> tuple[str, float]:
    """Choose the unit that times up to `picoseconds` are shown in: ms from 10 ms on, else µs.

    Returns
    -------
    (str, float)
        Its name, and its picoseconds.
    """
    return ("ms", 1e9) if picoseconds >= 10**10 else ("µs", 1e6)
