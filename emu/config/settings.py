"""Settings TOML -> one immutable, validated value (spec §1.1, §2.1, §5.3).

Every error is one line with the file, the dotted key, what was found and what was expected.
Nothing falls back silently: a file that was named, or found, must be complete and sound.
"""

import functools
import os
import tomllib

import msgspec

from ..errors import EmuError

U32 = 2**32 - 1
VARIABLE = "PLENA_SETTINGS_TOML"
NEAR_FILE = os.path.join("..", "plena_settings.toml")


class Fp(msgspec.Struct, frozen=True, tag_field="type", tag="Fp"):
    """Floating-point data type: `sign` bit or none, `exponent` bits, `mantissa` bits."""

    sign: bool
    exponent: int
    mantissa: int

    @property
    def size_in_bits(self) -> int:
        return int(self.sign) + self.exponent + self.mantissa

    def __str__(self):
        return f"{'' if self.sign else 'u'}e{self.exponent}m{self.mantissa}"


class Int(msgspec.Struct, frozen=True, tag_field="type", tag="Int"):
    """Integer data type of `width` bits."""

    width: int

    @property
    def size_in_bits(self) -> int:
        return self.width

    def __str__(self):
        return f"int{self.width}"


class Plain(msgspec.Struct, frozen=True, tag_field="format", tag="Plain"):
    """Values stored one after the other."""

    data_type: Fp | Int

    @property
    def elem(self) -> Fp | Int:
        """Data type of an element, under the name it has in `Mx`."""
        return self.data_type

    @property
    def ratio(self) -> int:
        """Element bytes for each scale byte; 1 by convention (§2.1)."""
        return 1

    def __str__(self):
        return str(self.data_type)


class Mx(msgspec.Struct, frozen=True, tag_field="format", tag="Mx"):
    """Blocks of `block` elements that share a scale."""

    elem: Fp | Int
    scale: Fp | Int
    block: int

    @property
    def ratio(self) -> int:
        """Element bytes for each scale byte (§2.1)."""
        return self.elem.size_in_bits * self.block // self.scale.size_in_bits

    def __str__(self):
        return f"mx({self.elem} x {self.block}, {self.scale})"


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
        """Mapping of name to cycles, as `plena_emu.program.cycle_costs` takes it."""
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
    ("hbm_m_prefetch_amount", "HBM_M_Prefetch_Amount", 0, 2**24),
    ("hbm_v_prefetch_amount", "HBM_V_Prefetch_Amount", 0, 2**24),
    ("hbm_v_writeback_amount", "HBM_V_Writeback_Amount", 0, 2**24),
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


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the TRANSACTIONAL table says, checked.

    Lengths and SRAM sizes count elements, rows or amounts as §1.1 and §1.2 do; `hbm_size` is bytes;
    `latency` is cycles. `clock_period` and `hbm_channels` are CLOCK_PERIOD_PS and HBM_CHANNELS as they stand in the
    file, unchecked: only `plena_emu.config.hardware` uses them. `source` is the file (or "built-in defaults"), `origin` what named it.
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
    source: str = "built-in defaults"
    origin: str = "built-in defaults"

    @property
    def pm(self) -> int:
        """Effective matrix prefetch amount: at least MLEN, rounded up to a multiple of it (§1.1)."""
        return -(-max(self.hbm_m_prefetch_amount, self.mlen) // self.mlen) * self.mlen

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
        lines = defaults_warning(self)
        raw = self.hbm_m_prefetch_amount
        if raw < self.mlen:
            lines.append(f"HBM_M_Prefetch_Amount {raw} is below MLEN {self.mlen}: raised to {self.pm}")
        elif raw % self.mlen:
            lines.append(f"HBM_M_Prefetch_Amount {raw} is no multiple of MLEN {self.mlen}: rounded up to {self.pm}")
        if self.scalar_fp != BF16:
            lines.append(f"SCALAR_FP {self.scalar_fp} is not used: scalar registers and the fp SRAM are bf16")
        return lines


class _Table:
    """A TOML table that knows its file and dotted name, for errors."""

    def __init__(self, source, name, values):
        self.source = source
        self.name = name
        self.values = values

    def fail(self, key, found, expected):
        where = ".".join(part for part in (self.name, key) if part)
        raise EmuError(f"settings {self.source}: {where}: found {found}, expected {expected}")

    def get(self, key, kind, expected):
        """Value of `key`, which must be of exactly the type `kind` (a bool is no int)."""
        if key not in self.values:
            self.fail(key, "nothing", expected)
        value = self.values[key]
        if type(value) is not kind:
            self.fail(key, _shown(value), expected)
        return value

    def table(self, key):
        name = f"{self.name}.{key}" if self.name else key
        return _Table(self.source, name, self.get(key, dict, "a table"))

    def integer(self, key, low, high):
        expected = f"an integer from {low} to {high}"
        value = self.get(key, int, expected)
        if not low <= value <= high:
            self.fail(key, _shown(value), expected)
        return value


def _shown(value):
    """Short text of a TOML value with its type."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    kinds = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    text = text if len(text) <= 40 else text[:37] + "..."
    return f"{text} ({kinds.get(type(value), type(value).__name__)})"


def _data_type(table):
    """`Fp` or `Int` from a table with `type`. At most 8 exponent and 23 mantissa bits: values become f32 (§2.2)."""
    kind = table.get("type", str, '"Fp" or "Int"')
    if kind == "Int":
        return Int(table.integer("width", 1, 32))
    if kind != "Fp":
        table.fail("type", _shown(kind), '"Fp" or "Int"')
    sign = table.get("sign", bool, "true or false")
    return Fp(sign, table.integer("exponent", 1, 8), table.integer("mantissa", 0, 23))


def _storage_type(table):
    """`Plain` or `Mx` from a table with `format`."""
    form = table.get("format", str, '"Plain" or "Mx"')
    if form == "Plain":
        return Plain(_data_type(table.table("DATA_TYPE")))
    if form != "Mx":
        table.fail("format", _shown(form), '"Plain" or "Mx"')
    block = table.integer("block", 1, 0xFFFF)
    made = Mx(_data_type(table.table("ELEM")), _data_type(table.table("SCALE")), block)
    if made.elem.size_in_bits * block % made.scale.size_in_bits:
        table.fail(
            "block", f"{block} elements of {made.elem.size_in_bits} bits for a scale of {made.scale.size_in_bits} bits",
            "a whole ratio between element bits of a block and scale bits",
        )
    return made


def _check_sram_type(table, key, kind):
    """SRAM rows are encoded by §2.3, which holds for 8 exponent bits only."""
    if not (isinstance(kind, Plain) and isinstance(kind.data_type, Fp)
            and kind.data_type.sign and kind.data_type.exponent == 8):
        table.fail(key, kind, "a Plain signed Fp with 8 exponent bits, such as bf16")


def _check_row(table, key, kind, what, length):
    """A row of `length` elements must be whole blocks and whole bytes."""
    if isinstance(kind, Mx) and length % kind.block:
        table.fail(f"{key}.block", kind.block, f"a divisor of {what} {length}")
    if kind.elem.size_in_bits * length % 8:
        table.fail(key, f"{kind.elem.size_in_bits}-bit elements",
                   f"a row of {what} {length} elements to be a whole number of bytes")


def defaults_warning(settings: Settings) -> list[str]:
    """The warning that no settings file was there; nothing where one was."""
    if settings.source != "built-in defaults":
        return []
    return ["no settings file was named and none was found: using the built-in defaults"]


def _parse(document, source, origin):
    """`Settings` from a parsed document; raises `EmuError`."""
    top = _Table(source, "", document).table("TRANSACTIONAL")
    config = top.table("CONFIG")
    values = {field: config.table(key).integer("value", low, high) for field, key, low, high in _CONFIG}
    if values["hlen"] < values["vlen"] and values["vlen"] % values["hlen"]:
        config.fail("HLEN.value", values["hlen"], f"a divisor of VLEN {values['vlen']}")

    for field, key in ("clock_period", "CLOCK_PERIOD_PS"), ("hbm_channels", "HBM_CHANNELS"):
        entry = config.values.get(key)
        values[field] = entry.get("value") if isinstance(entry, dict) else entry

    precision = top.table("PRECISION")
    for field, key in _PRECISION:
        values[field] = _storage_type(precision.table(key))
        if key in ("MATRIX_SRAM_TYPE", "VECTOR_SRAM_TYPE"):
            _check_sram_type(precision, key, values[field])
        if key.startswith(("HBM_M_", "MATRIX")):
            _check_row(precision, key, values[field], "MLEN", values["mlen"])
        elif key != "HBM_V_INT_TYPE":
            _check_row(precision, key, values[field], "VLEN", values["vlen"])
    values["scalar_fp"] = _data_type(precision.table("SCALAR_FP"))

    latency = top.table("LATENCY")
    column = "dc_lib_en" if values["dc_en"] else "dc_lib_dis"
    cycles = {}
    for field, key in LATENCY_KEYS.items():
        entry = latency.table(key)
        both = {name: entry.integer(name, 0, U32) for name in ("dc_lib_en", "dc_lib_dis")}
        cycles[field] = both[column]
    return Settings(**values, latency=Latency(**cycles), source=source, origin=origin)


def load_settings(path: str | os.PathLike, origin: str = "--settings") -> Settings:
    """Read and check the settings file at `path` (§5.3).

    Raises
    ------
    EmuError
        The file cannot be read, is no TOML, or a key is missing or has an impossible value.
    """
    source = os.fspath(path)
    try:
        with open(source, "rb") as file:
            text = file.read().decode("utf-8")
    except OSError as error:
        raise EmuError(f"settings {source} ({origin}): cannot read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise EmuError(f"settings {source}: not UTF-8 text: {error.reason} at byte {error.start}") from None
    return parse_settings(text, source, origin)


def parse_settings(text: str, source: str, origin: str) -> Settings:
    """Check the text of a settings file; `source` and `origin` name it. Raises `EmuError` as `load_settings`."""
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        raise EmuError(f"settings {source}: not valid TOML: {error}") from None
    except RecursionError:
        raise EmuError(f"settings {source}: not valid TOML: nested too deeply") from None
    return _parse(document, source, origin)


# Built-in defaults (§5.3): CONFIG values in the order of `_CONFIG`, latencies (en, dis) in the order of `Latency`.
_DEFAULT_CONFIG = (32, 16, 32, 32, 2, 2**30, 1024, 1024, 16, 16, 16, 1, 10000)
_DEFAULT_LATENCY = ((0, 0), (2, 7), (1, 5), (1, 6), (9, 9), (1, 1), (2, 7), (4, 4), (8, 20),
                    (4, 4), (1, 1), (1, 2), (1, 2), (1, 2), (1, 1))


@functools.cache
def default_settings() -> Settings:
    """The reference's built-in defaults (§5.3)."""
    mx = Mx(Fp(True, 4, 3), Fp(False, 8, 0), 8)
    types = (Plain(BF16), Plain(BF16), mx, mx, mx, mx, Plain(Int(32)))
    return Settings(
        **{row[0]: value for row, value in zip(_CONFIG, _DEFAULT_CONFIG)},
        **{row[0]: value for row, value in zip(_PRECISION, types)},
        scalar_fp=BF16,
        latency=Latency(*(enabled for enabled, _ in _DEFAULT_LATENCY)),
    )


def find_settings(
    flag: str | None, environ, cwd: str | os.PathLike = ".", origin: str = "--settings"
) -> Settings:
    """Settings by the search order of §5.3: `flag` (which `origin` names), `$PLENA_SETTINGS_TOML`,
    `../plena_settings.toml` seen from `cwd`, built-in defaults (with a warning in `.warnings`).

    An empty variable counts as unset. Raises `EmuError` when the first file named or found is unsound.
    """
    if flag is not None:
        return load_settings(flag, origin)
    if environ.get(VARIABLE):
        return load_settings(environ[VARIABLE], f"${VARIABLE}")
    near = os.path.join(cwd, NEAR_FILE)
    if os.path.lexists(near):
        return load_settings(os.path.normpath(near), NEAR_FILE)
    return default_settings()


def with_hbm_size(settings: Settings, hbm_size: int | None) -> Settings:
    """The same settings with another HBM size in bytes (`--hbm-size`); None keeps it. Raises `EmuError`."""
    if hbm_size is None:
        return settings
    low, high = next(row[2:] for row in _CONFIG if row[0] == "hbm_size")
    if not low <= hbm_size <= high:
        raise EmuError(f"HBM size {hbm_size}: expected {low} to {high} bytes")
    return msgspec.structs.replace(settings, hbm_size=hbm_size)
