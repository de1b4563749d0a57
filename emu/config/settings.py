"""Settings TOML -> one immutable, validated value (spec §1.1, §2.1, §5.3).

Every error is one line with the file, the dotted key, what was found and what was expected.
Nothing falls back silently: a file that was named, or found, must be complete and sound.
"""

import functools
import os
from collections.abc import Container
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..errors import EmuError
from ..inputs.documents import parse_toml
from ..inputs.number_formats import Fp, Int, Mx, Plain
from ..inputs.schema import convert
from ..inputs.text import read_text
from ..inputs.words import shown
from .hardware_checks import NONZERO, hardware_faults
from .settings_search import find_settings_file

U32 = 2**32 - 1


class Latency(msgspec.Struct, frozen=True):
    """Cycles an operation, already selected by DC_EN."""

    systolic: int
    v_add: int
    v_mul: int
    v_exp: int
    v_prefix_scan: int
    v_shift: int
    v_reci: int
    v_max: int
    v_sum: int
    fp_longest: int
    fp_basic: int
    fp_exp: int
    fp_sqrt: int
    fp_reci: int
    int_basic: int

    def by_name(self) -> dict[str, int]:
        """Map each name to its cycles, as `plena_emu.program.cycle_costs` takes it."""
        return msgspec.structs.asdict(self)


# Key of the LATENCY table for each field of `Latency` (§5.3).
LATENCY_KEYS = {
    "systolic": "SYSTOLIC_PROCESSING_OVERHEAD",
    "v_add": "VECTOR_ADD_CYCLES",
    "v_mul": "VECTOR_MUL_CYCLES",
    "v_exp": "VECTOR_EXP_CYCLES",
    "v_prefix_scan": "VECTOR_PREFIX_SCAN_CYCLES",
    "v_shift": "VECTOR_SHIFT_CYCLES",
    "v_reci": "VECTOR_RECI_CYCLES",
    "v_max": "VECTOR_MAX_CYCLES",
    "v_sum": "VECTOR_SUM_CYCLES",
    "fp_longest": "SCALAR_FP_LONGEST_OPERATE_CYCLES",
    "fp_basic": "SCALAR_FP_BASIC_CYCLES",
    "fp_exp": "SCALAR_FP_EXP_CYCLES",
    "fp_sqrt": "SCALAR_FP_SQRT_CYCLES",
    "fp_reci": "SCALAR_FP_RECI_CYCLES",
    "int_basic": "SCALAR_INT_BASIC_CYCLES",
}

# Of one transfer, whose accesses are listed before any of them is timed: 16384 rows of 16384 MX e4m3 elements fit.
MOST_ROWS = 2**20
MOST_TRANSFER_BYTES = 2**29
# Field, key of the CONFIG table, smallest and largest value. Registers are u32, so larger SRAMs could not be
# addressed; an edge above 65535 would make a tile larger than the address space. HBM addresses are u64, held in int64.
_CONFIG = (
    ("blen", "BLEN", 1, 0xFFFF),
    ("hlen", "HLEN", 1, 0xFFFF),
    ("mlen", "MLEN", 1, 0xFFFF),
    ("vlen", "VLEN", 1, 0xFFFF),
    ("broadcast", "BROADCAST_AMOUNT", 1, 0xFFFF),
    ("hbm_size", "HBM_SIZE", 1, 2**63 - 1),
    ("matrix_sram_size", "MATRIX_SRAM_SIZE", 1, U32),
    ("vector_sram_size", "VECTOR_SRAM_SIZE", 1, U32),
    ("hbm_m_prefetch_amount", "HBM_M_Prefetch_Amount", 0, MOST_ROWS),
    ("hbm_v_prefetch_amount", "HBM_V_Prefetch_Amount", 0, MOST_ROWS),
    ("hbm_v_writeback_amount", "HBM_V_Writeback_Amount", 0, MOST_ROWS),
    ("dc_en", "DC_EN", 0, U32),
    ("max_loop_instructions", "MAX_LOOP_INSTRUCTIONS", 0, 2**63 - 1),
)

_PRECISION = (
    ("matrix_sram_type", "MATRIX_SRAM_TYPE"),
    ("vector_sram_type", "VECTOR_SRAM_TYPE"),
    ("hbm_m_weight_type", "HBM_M_WEIGHT_TYPE"),
    ("hbm_m_kv_type", "HBM_M_KV_TYPE"),
    ("hbm_v_act_type", "HBM_V_ACT_TYPE"),
    ("hbm_v_kv_type", "HBM_V_KV_TYPE"),
    ("hbm_v_int_type", "HBM_V_INT_TYPE"),
)
BF16 = Fp(True, 8, 7)


def _mantissa(kind):
    """Mantissa bits of a plain type of floats."""
    assert isinstance(kind.elem, Fp)
    return kind.elem.mantissa

BUILT_IN = "built-in defaults"  # source and origin of settings where there is no file


def _whole_tiles(amount, mlen):
    """Round the rows of a matrix prefetch up to whole tiles, at least one."""
    return -(-max(amount, mlen) // mlen) * mlen


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the TRANSACTIONAL table says, checked.

    Lengths and SRAM sizes count elements, rows or amounts as §1.1 and §1.2 do; `hbm_size` is bytes;
    `latency` is cycles. `clock_period` and `hbm_channels` are CLOCK_PERIOD_PS and HBM_CHANNELS as they stand in the
    file, unchecked: only `plena_emu.config.hardware` uses them. `otherwise` are keys that say something else than what
    a run does, each with what it does. `source` is the file (or "built-in defaults"), `origin` what named it.
    """

    blen: int
    hlen: int
    mlen: int
    vlen: int
    broadcast: int
    hbm_size: int
    matrix_sram_size: int
    vector_sram_size: int
    hbm_m_prefetch_amount: int
    hbm_v_prefetch_amount: int
    hbm_v_writeback_amount: int
    dc_en: int
    max_loop_instructions: int
    matrix_sram_type: Plain
    vector_sram_type: Plain
    hbm_m_weight_type: Plain | Mx
    hbm_m_kv_type: Plain | Mx
    hbm_v_act_type: Plain | Mx
    hbm_v_kv_type: Plain | Mx
    hbm_v_int_type: Plain | Mx
    scalar_fp: Fp | Int
    latency: Latency
    clock_period: object = None
    hbm_channels: object = None
    otherwise: tuple[tuple[str, str], ...] = ()
    source: str = BUILT_IN
    origin: str = BUILT_IN

    @property
    def sram_mantissa(self) -> int:
        """Mantissa bits of the vector SRAM's type, which is a floating-point one (§2.1)."""
        return _mantissa(self.vector_sram_type)

    @property
    def matrix_sram_mantissa(self) -> int:
        """Mantissa bits of the matrix SRAM's type, which is a floating-point one (§2.1)."""
        return _mantissa(self.matrix_sram_type)

    @property
    def pm(self) -> int:
        """Effective matrix prefetch amount: at least MLEN, rounded up to a multiple of it (§1.1)."""
        return _whole_tiles(self.hbm_m_prefetch_amount, self.mlen)

    @property
    def pv(self) -> int:
        """Vector prefetch amount in rows."""
        return self.hbm_v_prefetch_amount

    @property
    def sv(self) -> int:
        """Vector write-back amount in rows."""
        return self.hbm_v_writeback_amount

    @property
    def matrix_tiles(self) -> int:
        """Whole tiles of the matrix SRAM."""
        return self.matrix_sram_size // self.mlen

    @property
    def warnings(self) -> list[str]:
        """One line for each value the machine corrects or does not use."""
        lines = defaults_warning(self.source)
        raw = self.hbm_m_prefetch_amount
        if raw < self.mlen:
            lines.append(f"HBM_M_Prefetch_Amount {raw} is below MLEN {self.mlen}: raised to {self.pm}")
        elif raw % self.mlen:
            lines.append(f"HBM_M_Prefetch_Amount {raw} is no multiple of MLEN {self.mlen}: rounded up to {self.pm}")
        if self.scalar_fp != BF16:
            lines.append(f"SCALAR_FP {self.scalar_fp} is not used: scalar registers and the fp SRAM are bf16")
        return lines


class _Cycles(msgspec.Struct, frozen=True):
    """Cycles of an operation, with and without the DesignWare library."""

    dc_lib_en: Annotated[int, Meta(ge=0, le=U32)]
    dc_lib_dis: Annotated[int, Meta(ge=0, le=U32)]


def _table(name, fields):
    """Make the type of a table from rows (field, key, type); other keys of the table pass."""
    return msgspec.defstruct(name, [(field, kind) for field, _, kind in fields], frozen=True,
                             rename={field: key for field, key, _ in fields})


@functools.cache
def _number(low, high):
    """Make the type of an entry `{ value = N }`."""
    return msgspec.defstruct("Number", [("value", Annotated[int, Meta(ge=low, le=high)])], frozen=True)


@functools.cache
def _document():
    """Make the type of a settings file (§5.3)."""
    config = _table("Config", [(field, key, _number(low, high)) for field, key, low, high in _CONFIG])
    precision = _table("Precision", [*((field, key, Plain | Mx) for field, key in _PRECISION),
                                     ("scalar_fp", "SCALAR_FP", Fp | Int)])
    latency = _table("Latencies", [(field, key, _Cycles) for field, key in LATENCY_KEYS.items()])
    top = _table("Transactional", [("config", "CONFIG", config), ("precision", "PRECISION", precision),
                                   ("latency", "LATENCY", latency)])
    return _table("Document", [("transactional", "TRANSACTIONAL", top)])


def _fail(source, key, found, expected):
    raise EmuError(f"settings {source}: TRANSACTIONAL.{key}: found {found}, expected {expected}")


def _check_sram_type(source, key, kind):
    """Refuse SRAM rows that §2.3 cannot encode: it holds for 8 exponent bits only."""
    if not (isinstance(kind, Plain) and isinstance(kind.data_type, Fp)
            and kind.data_type.sign and kind.data_type.exponent == 8):
        _fail(source, key, kind, "a Plain signed Fp with 8 exponent bits, such as bf16")


def _check_ratio(source, key, kind):
    """Refuse blocks whose scales do not lie at whole byte offsets."""
    if isinstance(kind, Mx) and kind.elem.size_in_bits * kind.block % kind.scale.size_in_bits:
        _fail(source, f"{key}.block", f"{kind.block} elements of {kind.elem.size_in_bits} bits for a scale of"
              f" {kind.scale.size_in_bits} bits", "a whole ratio between element bits of a block and scale bits")


def _check_row(source, key, kind, what, length):
    """Refuse a row of `length` elements that is not whole blocks and whole bytes."""
    if isinstance(kind, Mx) and length % kind.block:
        _fail(source, f"{key}.block", kind.block, f"a divisor of {what} {length}")
    if kind.elem.size_in_bits * length % 8:
        _fail(source, key, f"{kind.elem.size_in_bits}-bit elements",
              f"a row of {what} {length} elements to be a whole number of bytes")


def defaults_warning(source: str) -> list[str]:
    """Warn that no settings file was there, by the `source` of the settings; an empty list where one was.

    Returns
    -------
    list of str
    """
    if source != BUILT_IN:
        return []
    return ["no settings file was named and none was found: using the built-in defaults"]


def _check_types(types, mlen, vlen, source):
    """Check number formats against each other and against the lengths of rows."""
    for field, key in _PRECISION:
        kind, name = getattr(types, field), f"PRECISION.{key}"
        _check_ratio(source, name, kind)
        if key in ("MATRIX_SRAM_TYPE", "VECTOR_SRAM_TYPE"):
            _check_sram_type(source, name, kind)
        if key.startswith(("HBM_M_", "MATRIX")):
            _check_row(source, name, kind, "MLEN", mlen)
        elif key != "HBM_V_INT_TYPE":
            _check_row(source, name, kind, "VLEN", vlen)


def _check_transfers(types, values, source):
    """Refuse transfers of more bytes than a run has room for, scales included."""
    for key, amount, what in (
        ("HBM_M_WEIGHT_TYPE", "HBM_M_Prefetch_Amount", "MLEN"), ("HBM_M_KV_TYPE", "HBM_M_Prefetch_Amount", "MLEN"),
        ("HBM_V_ACT_TYPE", "HBM_V_Prefetch_Amount", "VLEN"), ("HBM_V_KV_TYPE", "HBM_V_Prefetch_Amount", "VLEN"),
        ("HBM_V_ACT_TYPE", "HBM_V_Writeback_Amount", "VLEN"), ("HBM_V_KV_TYPE", "HBM_V_Writeback_Amount", "VLEN"),
    ):  # fmt: skip
        kind, rows, length = getattr(types, key.lower()), values[amount.lower()], values[what.lower()]
        if what == "MLEN":
            rows = _whole_tiles(rows, length)
        scales = kind.scale.size_in_bits * (length // kind.block) if isinstance(kind, Mx) else 0
        total = rows * (kind.elem.size_in_bits * length + scales) // 8
        if total > MOST_TRANSFER_BYTES:
            _fail(source, f"CONFIG.{amount}.value", f"{rows} rows of {what} {length} of {key}, {total} bytes a"
                  " transfer", f"at most {MOST_TRANSFER_BYTES} bytes a transfer")


def load_settings(path: str | os.PathLike, origin: str = "--settings", hardware: bool = False,
                  replaced: Container[str] = ()) -> Settings:
    """Read and check the settings file at `path` (§5.3); `hardware` and `replaced` as for `parse_settings`.

    Returns
    -------
    Settings

    Raises
    ------
    EmuError
        The file cannot be read, is no TOML, or a key is missing or has an impossible value.
    """
    source = os.fspath(path)
    return parse_settings(read_text(source, "settings", origin), source, origin, hardware, replaced)


def parse_settings(text: str, source: str, origin: str, hardware: bool = False,
                   replaced: Container[str] = ()) -> Settings:
    """Check the text of a settings file; `source` and `origin` name it. Raises `EmuError` as `load_settings`.

    Entries of CONFIG that are 0 and may not be are all in one line; with `hardware` also all that hardware timing alone
    refuses (§7.1), but for the keys that something else has `replaced`, such as HBM_SIZE by `--hbm-size`.

    Returns
    -------
    Settings
    """
    where = f"settings {source}"
    document = parse_toml(text, where)
    _check_config(document, where, hardware, replaced)
    top = convert(document, _document(), where).transactional
    values = {field: getattr(top.config, field).value for field, *_ in _CONFIG}
    if values["hlen"] < values["vlen"] and values["vlen"] % values["hlen"]:
        _fail(source, "CONFIG.HLEN.value", values["hlen"], f"a divisor of VLEN {values['vlen']}")
    _check_types(top.precision, values["mlen"], values["vlen"], source)
    _check_transfers(top.precision, values, source)
    column = "dc_lib_en" if values["dc_en"] else "dc_lib_dis"
    latency = Latency(*(getattr(getattr(top.latency, field), column) for field in LATENCY_KEYS))
    return Settings(**values, **msgspec.structs.asdict(top.precision), **_hardware_values(document), latency=latency,
                    source=source, origin=origin, otherwise=_otherwise(document, values))


def _check_config(document, where, hardware, replaced):
    """Name every entry of CONFIG that is 0 and may not be, where there are several; one is `convert`'s. With hardware
    timing name everything that it refuses as well (§7.1), before a check of formats can end with one fault alone.
    """
    top = document.get("TRANSACTIONAL")
    config = top.get("CONFIG") if isinstance(top, dict) else None
    if not isinstance(config, dict):
        return
    limits = {key: f"an integer from {low} to {high}" for _, key, low, high in _CONFIG if low > 0}
    zeros = [key for key in (*limits, *(NONZERO if hardware else ()))
             if _is_zero(config.get(key)) and (key in limits or key not in replaced)]
    faults = [f"TRANSACTIONAL.CONFIG.{key}.value: found 0, expected {limits.get(key, 'at least 1')}" for key in zeros]
    if hardware:
        faults += hardware_faults({key: _value_of(entry) for key, entry in config.items()
                                   if key not in zeros and key not in replaced})
    if len(faults) > 1 or faults and not zeros:
        raise EmuError(f"{where}: " + "; ".join(faults))


def _is_zero(entry):
    """Whether an entry `{ value = N }` is the integer 0."""
    value = _value_of(entry)
    return type(value) is int and value == 0


# Keys of other tools that this machine has other means for, and those means. HBM2 is what there is without any.
_ELSEWHERE = {
    "HBM_GEN": "not used, the memory is that of --memory-model and --dram",
    "LATENCY_PROFILE": "not used, latencies are those of TRANSACTIONAL.LATENCY, or with --board the board's",
}
_MIRRORED = ("HBM_M_Prefetch_Amount", "HBM_V_Prefetch_Amount", "HBM_V_Writeback_Amount")


def _otherwise(document, values):
    """List keys that say something else than what a run does, and what it does; stock settings hold none of them."""
    found = []
    top = document["TRANSACTIONAL"]
    for key, instead in _ELSEWHERE.items():
        for name, table in ("TRANSACTIONAL", top), ("TRANSACTIONAL.CONFIG", top["CONFIG"]):
            if key in table and str(_value_of(table[key])).lower() not in ("hbm2", "2"):
                found.append((f"{name}.{key}", instead))
    behavior = document.get("BEHAVIOR")
    config = behavior.get("CONFIG") if isinstance(behavior, dict) else None
    for field, key, *_ in _CONFIG if isinstance(config, dict) else ():
        if key in _MIRRORED and key in config and _value_of(config[key]) != values[field]:
            found.append((f"BEHAVIOR.CONFIG.{key}", f"found {shown(_value_of(config[key]))}, not used:"
                                                    f" TRANSACTIONAL.CONFIG.{key} is {values[field]}"))
    return tuple(found)


def _value_of(entry):
    """Take N out of an entry `{ value = N }`; anything else is what it is."""
    return entry.get("value") if isinstance(entry, dict) else entry


def _hardware_values(document):
    """Take what only hardware timing reads, whatever it is: without it these keys are ignored (§5.3, §7.1)."""
    config = document["TRANSACTIONAL"]["CONFIG"]
    found = {}
    for field, key in ("clock_period", "CLOCK_PERIOD_PS"), ("hbm_channels", "HBM_CHANNELS"):
        found[field] = _value_of(config.get(key))
    return found


# Built-in defaults (§5.3): CONFIG values in the order of `_CONFIG`, latencies (en, dis) in the order of `Latency`.
_DEFAULT_CONFIG = (32, 16, 32, 32, 2, 2**30, 1024, 1024, 16, 16, 16, 1, 10000)
_DEFAULT_LATENCY = ((0, 0), (2, 7), (1, 5), (1, 6), (9, 9), (1, 1), (2, 7), (4, 4), (8, 20),
                    (4, 4), (1, 1), (1, 2), (1, 2), (1, 2), (1, 1))


@functools.cache
def default_settings() -> Settings:
    """Make the reference's built-in defaults (§5.3).

    Returns
    -------
    Settings
    """
    mx = Mx(Fp(True, 4, 3), Fp(False, 8, 0), 8)
    types = (Plain(BF16), Plain(BF16), mx, mx, mx, mx, Plain(Int(32)))
    values: dict[str, Any] = {row[0]: value for row, value in zip(_CONFIG, _DEFAULT_CONFIG, strict=True)}
    values |= {row[0]: value for row, value in zip(_PRECISION, types, strict=True)}
    latency = Latency(*(enabled for enabled, _ in _DEFAULT_LATENCY))
    return Settings(**values, scalar_fp=BF16, latency=latency)


def find_settings(
    flag: str | None, environ, cwd: str | os.PathLike = ".", origin: str = "--settings", hardware: bool = False,
    replaced: Container[str] = (),
) -> Settings:
    """Find settings by the search order of §5.3: `flag` (which `origin` names), `$PLENA_SETTINGS_TOML`,
    `../plena_settings.toml` seen from `cwd`, built-in defaults (with a warning in `.warnings`).

    An empty variable counts as unset. `hardware` and `replaced` as for `parse_settings`. Raises
    `EmuError` when the first file named or found is unsound.

    Returns
    -------
    Settings
    """
    found = find_settings_file(flag, environ, cwd, origin)
    return default_settings() if found is None else load_settings(*found, hardware, replaced)


def with_hbm_size(settings: Settings, hbm_size: int | None) -> Settings:
    """Replace the HBM size by `hbm_size` bytes (`--hbm-size`); None keeps it. Raises `EmuError`.

    Returns
    -------
    Settings
    """
    if hbm_size is None:
        return settings
    low, high = next(row[2:] for row in _CONFIG if row[0] == "hbm_size")
    if not low <= hbm_size <= high:
        raise EmuError(f"HBM size {hbm_size}: expected {low} to {high} bytes")
    return msgspec.structs.replace(settings, hbm_size=hbm_size)
