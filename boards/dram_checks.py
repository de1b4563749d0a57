"""What no DRAM can be: counts, mappings, timing and data buses that a description may not have (spec §4.2 - §4.7)."""

import itertools

from plena_emu.errors import EmuError

from .dram_timing import COLUMN_COMMANDS, LEVELS, OTHER_RANK, RANK_COMMANDS, StandardTiming

# What the kernel's fixed-size records hold.
MAX_CHANNELS = 256
MAX_RANKS = 4
MAX_BANKS = 32  # a channel: the active queue holds 33 requests, at most one a bank
MAX_GROUP = 16  # banks of a bank group
MAX_WINDOWED = 2
MAX_ROWS = 64
MIN_ROW_BIT = 14


def check(file, what: str) -> None:
    """Check a description whose keys have the right types; raises `EmuError` that begins with `what`."""
    _check_organisation(file.organisation, what)
    _check_mapping(file, what)
    _check_queues(file, what)
    if isinstance(file.timing, StandardTiming):
        _check_standard(file, what)
    elif file.read_latency is None:
        raise EmuError(f"{what}: read_latency: found nothing, expected clocks, as rows do not tell it")
    _check_rows(file.timing_rows("base"), f"{what}: timing")
    _check_revisions(file, what)
    _check_refresh(file, what)
    _check_data_bus(file, what)


def bit_mask(bit) -> int:
    """Address-bit mask of a bit or of an exclusive or such as `6^4`."""
    return 1 << bit if isinstance(bit, int) else sum(1 << number for number in {int(text) for text in bit.split("^")})


def _width(count):
    return count.bit_length() - 1


def _check_organisation(organisation, what):
    for level in LEVELS:
        count = getattr(organisation, level)
        if count & (count - 1):
            raise EmuError(f"{what}: organisation.{level}: found {count}, expected a power of two")
    banks = organisation.rank * organisation.bankgroup * organisation.bank
    for key, found, limit in (
        ("channel", organisation.channel, MAX_CHANNELS),
        ("rank", organisation.rank, MAX_RANKS),
        ("bank", organisation.bank, MAX_GROUP),
    ):
        if found > limit:
            raise EmuError(f"{what}: organisation.{key}: found {found}, expected at most {limit}")
    if banks > MAX_BANKS:
        raise EmuError(f"{what}: organisation: found {banks} banks a channel, expected at most {MAX_BANKS}")


def _check_mapping(file, what):
    """Every field has the bits its level needs and no two addresses share a place."""
    what = f"{what}: mapping"
    mapping, offset, first = file.mapping, _width(file.transfer_bytes), file.mapping.row.first
    if first < MIN_ROW_BIT:
        raise EmuError(f"{what}.row.from: found {first}, expected at least {MIN_ROW_BIT}")
    masks = []
    for field in ("column", *LEVELS):
        bits = getattr(mapping, field)
        needed = _width(getattr(file.organisation, field)) if field in LEVELS else len(bits)
        if len(bits) != needed:
            raise EmuError(f"{what}.{field}: found {len(bits)} bits, expected {needed}")
        masks += [(field, bit_mask(bit)) for bit in bits]
    masks_and_row = [*masks, *(("row.xor", 1 << bit) for bit in mapping.row.xor)]
    for field, mask in masks_and_row:
        if mask >> first or mask & ((1 << offset) - 1):
            raise EmuError(f"{what}.{field}: address bits must be {offset} to {first - 1} (row.from is {first})")
    if len(mapping.row.xor) > 64 - first:
        raise EmuError(f"{what}.row.xor: found {len(mapping.row.xor)} bits, expected at most {64 - first}")
    if len(masks) != first - offset:
        raise EmuError(f"{what}: found {len(masks)} bits in all fields, expected {first - offset} (row.from is"
                       f" {first})")
    if _rank([mask for _, mask in masks]) != len(masks):
        raise EmuError(f"{what}: two addresses of one row share a place: the bit sums depend on each other")


def _rank(masks):
    """Number of independent masks (Gaussian elimination over exclusive or)."""
    basis = []
    for mask in masks:
        for element in basis:
            mask = min(mask, mask ^ element)
        if mask:
            basis.append(mask)
    return len(basis)


def _check_queues(file, what):
    mode, size = file.write_mode, file.queues.write
    if mode.high_watermark > size + 1:
        raise EmuError(f"{what}: write_mode.high_watermark: found {mode.high_watermark}, expected at most {size + 1}"
                       " (queues.write + 1)")
    if mode.low_watermark >= mode.high_watermark:
        raise EmuError(f"{what}: write_mode.low_watermark: found {mode.low_watermark}, expected less than"
                       f" high_watermark {mode.high_watermark}")


def _check_standard(file, what):
    """Timing by the standard's names has each figure that the organisation needs, once."""
    timing, where = file.timing, f"{what}: timing"
    for key, found, name in (("read_latency", file.read_latency, "CL"), ("refresh", file.refresh, "tREFI")):
        if found is not None:
            raise EmuError(f"{what}: {key}: found beside a map of timing, whose {name} tells it")
    for name in ("tCCD", "tRRD", "tWTR"):
        given = tuple(getattr(timing, f"{name}{end}") is not None for end in ("", "_S", "_L"))
        if given not in ((True, False, False), (False, True, True)):
            raise EmuError(f"{where}.{name}: expected either {name} or both {name}_S and {name}_L")
    if len({getattr(timing, name) is None for name in ("tCCD", "tRRD", "tWTR")}) > 1:
        raise EmuError(f"{where}: expected _S and _L of all of tCCD, tRRD and tWTR, or of none")
    if (timing.tRFC is None) != (timing.tREFI is None):
        missing = "tRFC" if timing.tRFC is None else "tREFI"
        raise EmuError(f"{where}.{missing}: found nothing, expected tRFC and tREFI, or neither for no refresh")
    if file.shares_bus and timing.tRTRS is None:
        raise EmuError(f"{where}.tRTRS: found nothing, expected clocks (2 is usual): {file.organisation.rank} ranks"
                       " share a data bus")


def _check_rows(rows, what):
    seen = set()
    for number, row in enumerate(rows):
        where = f"{what}[{number}]"
        if row.key in seen:
            raise EmuError(f"{where}: {row} is there twice")
        seen.add(row.key)
        wide = [name for name in (row.preceding, row.following) if name in RANK_COMMANDS]
        if wide and row.level not in ("channel", "rank"):
            raise EmuError(f"{where}: found level {row.level}, expected channel or rank ({wide[0]} addresses a rank)")
        if row.window > 1 and (row.level == OTHER_RANK or row.preceding in RANK_COMMANDS):
            raise EmuError(f"{where}: found a window for {row}, expected one for a command on a bank of the same node")
    if len(rows) > MAX_ROWS:
        raise EmuError(f"{what}: found {len(rows)} rows, expected at most {MAX_ROWS}")
    windowed = sum(row.window > 1 for row in rows)
    if windowed > MAX_WINDOWED:
        raise EmuError(f"{what}: found {windowed} rows with a window, expected at most {MAX_WINDOWED}")


def _check_revisions(file, what):
    known = {row.key for row in file.timing_rows("base")}
    for revision, rows in file.revisions.items():
        where = f"{what}: revisions.{revision}"
        _check_rows(rows, where)
        for number, row in enumerate(rows):
            if row.key not in known:
                raise EmuError(f"{where}[{number}]: {row} is no row of timing")


def _check_refresh(file, what):
    """A refresh interval must leave time for requests, or nothing would ever be served."""
    if not file.refresh_interval:
        return
    rows = (*file.timing_rows("base"), *(row for rows in file.revisions.values() for row in rows))
    longest = max((row.clocks for row in rows), default=0)
    needed = 4 * longest + 2 * file.organisation.rank + 1
    if file.refresh_interval < needed:
        key = "timing.tREFI" if isinstance(file.timing, StandardTiming) else "refresh.interval"
        raise EmuError(f"{what}: {key}: found {file.refresh_interval}, expected at least {needed} "
                       "(four times the longest timing figure)")


def _check_data_bus(file, what):
    """No order of reads and writes may move more than a burst in `burst_clocks` on one data bus (spec §10.2).

    A stream of commands changes between reads and writes as often one way as the other, so it suffices that reads are
    a burst apart, writes too, and the two changes together are two bursts long.
    """
    burst = file.burst_clocks
    if file.read_clocks < burst:
        raise EmuError(f"{what}: read_latency: found {file.read_clocks}, expected at least burst_clocks {burst}")
    for revision in ("base", *file.revisions):
        rows = file.timing_rows(revision)
        gap = {pair: _least_gap(file, rows, *pair) for pair in itertools.product(COLUMN_COMMANDS, repeat=2)}
        where = f"{what}: timing" if revision == "base" else f"{what}: revisions.{revision}"
        for command in COLUMN_COMMANDS:
            found, level = gap[command, command]
            if found < burst:
                raise EmuError(f"{where}: found {command} {found} clocks after {command} {level}, expected at least"
                               f" burst_clocks {burst}, as they share a data bus")
        (there, level), (back, other) = gap["RD", "WR"], gap["WR", "RD"]
        if there + back < 2 * burst:
            level = level if there <= back else other
            raise EmuError(f"{where}: found {there} clocks from RD to WR and {back} from WR to RD {level}, expected at"
                           f" least {2 * burst} together (2 burst_clocks), as they share a data bus")


def _least_gap(file, rows, preceding, following):
    """(clocks, where): the pair of banks on one data bus that holds `following` back least after `preceding`."""
    org = file.organisation
    pairs = [
        ("in another rank", (LEVELS[0], OTHER_RANK), file.shares_bus),
        ("in another bank group", LEVELS[:2], org.bankgroup > 1),
        ("in another bank of the group", LEVELS[:3], org.bank > 1),
        ("in the same bank", LEVELS, True),
    ]
    rows = [row for row in rows if (row.preceding, row.following, row.window) == (preceding, following, 1)]
    gaps = [(max((row.clocks for row in rows if row.level in levels), default=0), text)
            for text, levels, there in pairs if there]
    clocks, text = min(gaps, key=lambda gap: gap[0])
    return max(clocks, 1), text  # a channel issues one command a clock
