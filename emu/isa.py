"""The one table of PLENA instructions (spec §1.3, §1.8, §1.9).

Decoder, assembler, disassembler, profiler, debug records and the constants of the jitted
kernels are all derived from `OPS`. This module imports nothing.

Each operation has a dense internal number (its *op id*, the same in both revisions) and a
6-bit code per revision. The kernels only ever see op ids.
"""

REVISIONS = ("base", "moe")

# Bit position and width of every field of a word (§1.3).
FIELDS = {
    "opcode": (0, 6),
    "rd": (6, 4),
    "rs1": (10, 4),
    "rs2": (14, 4),
    "rs3": (18, 4),
    "funct1": (22, 4),
    "imm22": (10, 22),
    "imm18": (14, 18),
}

# Operand names that are another name of a field of the word.
FIELD_OF = {
    "rmask": "rs3",
    "rstride": "rs3",
    "policy": "rs3",
    "order": "funct1",
    "precision": "funct1",
}


class Op:
    """One operation.

    Attributes
    ----------
    id : int
        Dense internal number, the same in both revisions.
    mnemonic : str
        Name in assembly text; `moe_mnemonic` where the later revision renamed it.
    base, moe : int or None
        6-bit code in each revision, None where it is unassigned.
    operands : tuple of str
        Encoded operands in the order of §1.3: `rd`, `rs1`, `rs2`, then `imm18`, `imm22`,
        `rmask`, `rstride`, `order`, `precision`, `policy`.
    text : tuple of str
        Operands of the assembly line in order (§1.9). `NAME:kind` is a register of that
        kind or a number; `[...]` may be left out; `0` is a number that must be 0;
        `[gp0]` is accepted and not encoded.
    cost : str
        Cost class: a key of `plena_emu.program.cycle_costs`.
    type : str
        `matrix`, `vector`, `scalar_fp`, `scalar_int`, `memory` or `control`.
    meaning : str
        One line for people.
    """

    __slots__ = ("id", "mnemonic", "moe_mnemonic", "base", "moe", "operands", "text", "cost", "type", "meaning")

    def __init__(self, id, mnemonic, base, moe, operands, text, cost, type, meaning, moe_mnemonic=None):
        self.id = id
        self.mnemonic = mnemonic
        self.moe_mnemonic = moe_mnemonic or mnemonic
        self.base = base
        self.moe = moe
        self.operands = tuple(operands.split())
        self.text = tuple(text.split())
        self.cost = cost
        self.type = type
        self.meaning = meaning

    def code(self, revision):
        """Look up the 6-bit code in `revision`, None where it has none."""
        return self.base if revision == "base" else self.moe

    def name(self, revision):
        """Look up the mnemonic in `revision`."""
        return self.mnemonic if revision == "base" else self.moe_mnemonic

    def __repr__(self):
        return f"<Op {self.mnemonic}>"


_RRR = "rd rs1 rs2"
_ROWS: list = []


def _op(mnemonic, base, moe, operands, text, cost, type, meaning, moe_mnemonic=None):
    _ROWS.append(Op(len(_ROWS) + 1, mnemonic, base, moe, operands, text, cost, type, meaning, moe_mnemonic))


_MM = "rd:num rs1:gp rs2:gp"
_op("M_MM", 0x01, 0x01, "rs1 rs2", _MM, "systolic_mlen", "matrix", "m_accum += BLEN rows x tile columns")
_op("M_TMM", 0x02, 0x02, "rs1 rs2", _MM, "systolic_mlen", "matrix", "m_accum += BLEN rows x transposed tile columns")
_op("M_BMM", 0x03, 0x03, "rs1 rs2", _MM, "systolic_mlen", "matrix", "hm_accum += broadcast heads x tile slice")
_op("M_BTMM", 0x04, 0x04, "rs1 rs2", _MM, "systolic_mlen", "matrix",
    "hm_accum += broadcast heads x transposed tile slice")
_op("M_BMM_WO", 0x05, 0x05, "rd imm18", "rd:gp [gp0] imm18:num", "one", "matrix", "write out and clear hm_accum")
_op("M_MM_WO", 0x06, 0x06, "rd rs1 imm18", "rd:gp rs1:gp imm18:num", "one", "matrix", "write out and clear m_accum")
_op("M_MV", 0x07, 0x07, "rs1 rs2", _MM, "mlen", "matrix", "v_accum += row x tile columns")
_op("M_TMV", 0x08, 0x08, "rs1 rs2", _MM, "mlen", "matrix", "v_accum += row x transposed tile columns")
_op("M_BMV", 0x09, 0x09, _RRR, _MM, "systolic_1", "matrix", "hv_accum += broadcast heads of a row x tile slice")
_op("M_BTMV", 0x0A, 0x0A, _RRR, _MM, "systolic_1", "matrix",
    "hv_accum += broadcast heads of a row x transposed tile slice")
_op("M_MV_WO", 0x0B, 0x0B, "rd imm18", "rd:gp [gp0] imm18:num", "one", "matrix", "write out and clear v_accum")
_op("M_BMV_WO", 0x0C, 0x0C, "rd imm18", "rd:gp [gp0] imm18:num", "one", "matrix", "write out and clear hv_accum")

_VV = "rd:gp rs1:gp rs2:gp [rmask:num]"
_VF = "rd:gp rs1:gp rs2:f [rmask:num]"
_op("V_ADD_VV", 0x0D, 0x0D, "rd rs1 rs2 rmask", _VV, "v_add", "vector", "row + row")
_op("V_ADD_VF", 0x0E, 0x0E, "rd rs1 rs2 rmask", _VF, "v_add", "vector", "row + scalar")
_op("V_SUB_VV", 0x0F, 0x0F, "rd rs1 rs2 rmask", _VV, "v_add", "vector", "row - row")
_op("V_SUB_VF", 0x10, 0x10, "rd rs1 rs2 rmask order", "rd:gp rs1:gp rs2:f rmask:num order:num", "v_add", "vector",
    "row - scalar, or reversed")
_op("V_MUL_VV", 0x11, 0x11, "rd rs1 rs2 rmask", _VV, "v_mul", "vector", "row * row")
_op("V_MUL_VF", 0x12, 0x12, "rd rs1 rs2 rmask", _VF, "v_mul", "vector", "row * scalar")
_V1 = "rd:gp rs1:gp [rmask:num] [0]"
_RED = "rd:f rs1:gp [rmask:num] [0]"
_op("V_EXP_V", 0x13, 0x13, "rd rs1 rmask", _V1, "v_exp", "vector", "exp of a row")
_op("V_RECI_V", 0x14, 0x14, "rd rs1 rmask", _V1, "v_reci", "vector", "1 / row")
_op("V_RED_SUM", 0x15, 0x15, "rd rs1 rmask", _RED, "v_sum", "vector", "fp += sum of a row")
_op("V_RED_MAX", 0x16, 0x16, "rd rs1 rmask", _RED, "v_max", "vector", "fp = max(fp, max of a row)")

_F3 = "rd:f rs1:f rs2:f"
_F2 = "rd:f rs1:f [0]"
_op("S_ADD_FP", 0x17, 0x17, _RRR, _F3, "fp_basic", "scalar_fp", "fp + fp")
_op("S_SUB_FP", 0x18, 0x18, _RRR, _F3, "fp_basic", "scalar_fp", "fp - fp")
_op("S_MAX_FP", 0x19, 0x19, _RRR, _F3, "fp_basic", "scalar_fp", "larger of two fp")
_op("S_MUL_FP", 0x1A, 0x1A, _RRR, _F3, "fp_basic", "scalar_fp", "fp * fp")
_op("S_EXP_FP", 0x1B, 0x1B, "rd rs1", _F2, "fp_exp", "scalar_fp", "exp of fp")
_op("S_RECI_FP", 0x1C, 0x1C, "rd rs1", _F2, "fp_reci", "scalar_fp", "1 / fp")
_op("S_SQRT_FP", 0x1D, 0x1D, "rd rs1", _F2, "fp_sqrt", "scalar_fp", "square root of fp")
_FMEM = "rd:f rs1:gp imm18:num"
_op("S_LD_FP", 0x1E, 0x1E, "rd rs1 imm18", _FMEM, "one", "scalar_fp", "load fp from fp SRAM")
_op("S_ST_FP", 0x1F, 0x1F, "rd rs1 imm18", _FMEM, "one", "scalar_fp", "store fp to fp SRAM")
_op("S_MAP_V_FP", 0x20, 0x20, "rd rs1 imm18", "rd:gp rs1:gp imm18:num", "two_vlen", "scalar_fp",
    "fp SRAM segment to a vector row")

_I3 = "rd:gp rs1:gp rs2:gp"
_IMM = "rd:gp rs1:gp imm18:num"
_op("S_ADD_INT", 0x21, 0x21, _RRR, _I3, "int", "scalar_int", "gp + gp")
_op("S_ADDI_INT", 0x22, 0x22, "rd rs1 imm18", _IMM, "int", "scalar_int", "gp + immediate")
_op("S_SUB_INT", 0x23, 0x23, _RRR, _I3, "int", "scalar_int", "gp - gp")
_op("S_MUL_INT", 0x24, 0x24, _RRR, _I3, "int", "scalar_int", "gp * gp")
_op("S_LUI_INT", 0x25, 0x25, "rd imm22", "rd:gp imm22:num", "int", "scalar_int", "immediate << 12")
_op("S_LD_INT", 0x26, 0x26, "rd rs1 imm18", _IMM, "int", "scalar_int", "load gp from int SRAM")
_op("S_ST_INT", 0x27, 0x27, "rd rs1 imm18", _IMM, "int", "scalar_int", "store gp to int SRAM")

_H = "rd:gp rs1:gp rs2:a rstride:num precision:num [0]"
_HOPS = "rd rs1 rs2 rstride precision"
_op("H_PREFETCH_M", 0x28, 0x28, _HOPS, _H, "memory", "memory", "HBM rows to matrix tiles")
_op("H_PREFETCH_V", 0x29, 0x29, _HOPS, _H, "memory", "memory", "HBM rows to vector rows")
_op("H_STORE_V", 0x2A, 0x2A, _HOPS, _H, "memory", "memory", "vector rows to HBM")

_op("C_SET_ADDR_REG", 0x2B, 0x2B, _RRR, "rd:a rs1:gp rs2:gp", "one", "control", "set an HBM address register")
_op("C_SET_SCALE_REG", 0x2C, 0x2C, "rd", "rd:gp", "one", "control", "set the scale offset register")
_op("C_SET_STRIDE_REG", 0x2D, 0x2D, "rd", "rd:gp", "one", "control", "set the stride register")
_op("C_SET_V_MASK_REG", 0x2E, 0x2E, "rd", "rd:gp", "one", "control", "set the vector mask")
_op("C_LOOP_START", 0x2F, 0x2F, "rd imm22", "rd:gp imm22:num", "one", "control", "begin a loop of n iterations")
_op("C_LOOP_END", 0x30, 0x30, "rd", "rd:gp", "one", "control", "next iteration or leave the loop")
_op("V_SHIFT_V", 0x31, 0x32, _RRR, "rd:gp rs1:gp rs2:gp", "v_mul", "vector", "shift a row right", "V_SHFT_V")
_op("C_BREAK", 0x32, 0x34, "", "", "one", "control", "drop the innermost loop")
_op("V_MAX_VF", None, 0x35, "rd rs1 rs2 rmask", _VF, "v_max", "vector", "clamp a row from below")
_op("V_MIN_VF", None, 0x36, "rd rs1 rs2 rmask", _VF, "v_max", "vector", "clamp a row from above")
_op("V_TOPK", None, 0x37, "rd rs1 rs2 policy", "rd:gp rs1:gp rs2:gp policy:num", "topk", "vector",
    "largest logits, softmax weights and indices")

OPS = tuple(_ROWS)
INVALID = 0  # op id of every word whose code the revision does not assign
NUM_OPS = len(OPS) + 1
BY_ID = (None,) + OPS
BY_MNEMONIC = {name: op for op in OPS for name in (op.mnemonic, op.moe_mnemonic)}

# Operations whose words are refused when rd is not 0 (§1.3, footnote).
RD_MUST_BE_ZERO = (BY_MNEMONIC["M_BMM"].id, BY_MNEMONIC["M_BTMM"].id)

# Operations that do nothing at no cost when rd is 0 (§1.5, §1.6).
FREE_WHEN_RD_ZERO = tuple(
    BY_MNEMONIC[m].id
    for m in (
        "V_RED_SUM", "V_RED_MAX", "S_ADD_FP", "S_SUB_FP", "S_MAX_FP", "S_MUL_FP",
        "S_EXP_FP", "S_RECI_FP", "S_SQRT_FP",
    )
)

# Policies of V_TOPK (§1.8): number of logits and of selected experts.
TOPK_POLICIES = {0: (32, 4), 1: (128, 8)}

# Op ids as module constants (`M_MM`, `V_ADD_VV`, ...) for the jitted kernels.
globals().update({op.mnemonic: op.id for op in OPS})


def __getattr__(name: str) -> int:
    """Refuse a name that is no operation; tells type checkers that the names above are integers."""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_grouped: list = []


def _group(mnemonics):
    """First and last op id of operations that follow one another in the table."""
    _grouped.extend(mnemonics.split())
    return len(_grouped) - len(mnemonics.split()) + 1, len(_grouped)


# Groups by what handles them: a group is a range of op ids, FIRST_x to LAST_x. The kernels tell operations apart by
# them (`plena_emu.kernels.op_groups`), so a new operation has to be put into one.
FIRST_MATRIX, LAST_MATRIX = _group(
    "M_MM M_TMM M_BMM M_BTMM M_BMM_WO M_MM_WO M_MV M_TMV M_BMV M_BTMV M_MV_WO M_BMV_WO"
)
FIRST_ROW, LAST_ROW = _group("V_ADD_VV V_ADD_VF V_SUB_VV V_SUB_VF V_MUL_VV V_MUL_VF V_EXP_V V_RECI_V")
FIRST_REDUCTION, LAST_REDUCTION = _group("V_RED_SUM V_RED_MAX")
FIRST_FP, LAST_FP = _group(
    "S_ADD_FP S_SUB_FP S_MAX_FP S_MUL_FP S_EXP_FP S_RECI_FP S_SQRT_FP S_LD_FP S_ST_FP S_MAP_V_FP"
)
FIRST_INT, LAST_INT = _group("S_ADD_INT S_ADDI_INT S_SUB_INT S_MUL_INT S_LUI_INT S_LD_INT S_ST_INT")
FIRST_MEMORY, LAST_MEMORY = _group("H_PREFETCH_M H_PREFETCH_V H_STORE_V")
FIRST_SET, LAST_SET = _group("C_SET_ADDR_REG C_SET_SCALE_REG C_SET_STRIDE_REG C_SET_V_MASK_REG")
FIRST_LOOP, LAST_LOOP = _group("C_LOOP_START C_LOOP_END")
FIRST_SHIFT, LAST_SHIFT = _group("V_SHIFT_V")
FIRST_BREAK, LAST_BREAK = _group("C_BREAK")
FIRST_CLAMP, LAST_CLAMP = _group("V_MAX_VF V_MIN_VF")
FIRST_TOPK, LAST_TOPK = _group("V_TOPK")
assert _grouped == [op.mnemonic for op in OPS], "every operation belongs to one group, in the order of the table"


def codes(revision):
    """Map each 6-bit code to its `Op` for one revision (`base` or `moe`)."""
    if revision not in REVISIONS:
        raise ValueError(f"unknown ISA revision {revision!r}, expected one of {', '.join(REVISIONS)}")
    return {op.code(revision): op for op in OPS if op.code(revision) is not None}


def field(word, name):
    """Take the value of field `name` (a key of `FIELDS` or an operand name) out of a 32-bit word."""
    shift, width = FIELDS[FIELD_OF.get(name, name)]
    return (word >> shift) & ((1 << width) - 1)
