"""Small inputs that several test files need: a settings document and a build directory of its own."""

import copy
import pathlib

import tomlkit

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared" / "golden" / "programs"


def _bf16():
    return {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7}


def _mx():
    return {
        "format": "Mx",
        "block": 8,
        "ELEM": {"type": "Fp", "sign": True, "exponent": 4, "mantissa": 3},
        "SCALE": {"type": "Fp", "sign": False, "exponent": 8, "mantissa": 0},
    }


_CONFIG = {
    "BLEN": 4, "HLEN": 4, "MLEN": 16, "VLEN": 16, "BROADCAST_AMOUNT": 4, "HBM_SIZE": 4096, "MATRIX_SRAM_SIZE": 64,
    "VECTOR_SRAM_SIZE": 64, "HBM_M_Prefetch_Amount": 16, "HBM_V_Prefetch_Amount": 4, "HBM_V_Writeback_Amount": 4,
    "DC_EN": 1, "MAX_LOOP_INSTRUCTIONS": 1000, "HBM_WIDTH": 512,
}  # fmt: skip

# Key of the LATENCY table: (dc_lib_en, dc_lib_dis). All different, so that a mix-up shows.
LATENCY = {
    "SYSTOLIC_PROCESSING_OVERHEAD": (3, 103),
    "VECTOR_ADD_CYCLES": (5, 105),
    "VECTOR_MUL_CYCLES": (7, 107),
    "VECTOR_EXP_CYCLES": (11, 111),
    "VECTOR_PREFIX_SCAN_CYCLES": (13, 113),
    "VECTOR_SHIFT_CYCLES": (17, 117),
    "VECTOR_RECI_CYCLES": (19, 119),
    "VECTOR_MAX_CYCLES": (23, 123),
    "VECTOR_SUM_CYCLES": (29, 129),
    "SCALAR_FP_LONGEST_OPERATE_CYCLES": (31, 131),
    "SCALAR_FP_BASIC_CYCLES": (37, 137),
    "SCALAR_FP_EXP_CYCLES": (41, 141),
    "SCALAR_FP_SQRT_CYCLES": (43, 143),
    "SCALAR_FP_RECI_CYCLES": (47, 147),
    "SCALAR_INT_BASIC_CYCLES": (53, 153),
}


def settings_document():
    """A complete, sound settings document as nested dicts; MLEN = VLEN = 16."""
    return {
        "TRANSACTIONAL": {
            "CONFIG": {key: {"value": value} for key, value in _CONFIG.items()},
            "PRECISION": {
                "MATRIX_SRAM_TYPE": {"format": "Plain", "DATA_TYPE": _bf16()},
                "VECTOR_SRAM_TYPE": {"format": "Plain", "DATA_TYPE": _bf16()},
                "HBM_M_WEIGHT_TYPE": _mx(),
                "HBM_M_KV_TYPE": _mx(),
                "HBM_V_ACT_TYPE": _mx(),
                "HBM_V_KV_TYPE": _mx(),
                "HBM_V_INT_TYPE": {"format": "Plain", "DATA_TYPE": {"type": "Int", "width": 32}},
                "SCALAR_FP": _bf16(),
            },
            "LATENCY": {key: {"dc_lib_en": en, "dc_lib_dis": dis} for key, (en, dis) in LATENCY.items()},
        }
    }


MISSING = "<missing>"


def changed(dotted, value):
    """`settings_document` with the value at `dotted` replaced, or removed by `MISSING`."""
    document = copy.deepcopy(settings_document())
    *parents, last = dotted.split(".")
    table = document
    for name in parents:
        table = table[name]
    if value == MISSING:
        del table[last]
    else:
        table[last] = value
    return document


def write_settings(path, document=None):
    """Write a settings document as TOML; returns the path as text."""
    document = settings_document() if document is None else document
    pathlib.Path(path).write_text(tomlkit.dumps(document), encoding="utf-8")
    return str(path)
