"""Random DMAs in random formats through whole runs: bytes, latency, refusals against the oracle of spec §7.2-§7.5."""

import copy
import json

import numpy as np
import pytest
import tomlkit
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st
from oracle import numerics as nm
from oracle.hardware import machine as oracle
from oracle.state import OracleError
from support import settings_document

import plena_emu
from plena_emu import isa
from plena_emu.errors import EmuError

HBM_SIZE = 1 << 16


def fp(exponent, mantissa, sign=True):
    return {"type": "Fp", "sign": sign, "exponent": exponent, "mantissa": mantissa}


ELEMENTS = {"e4m3": fp(4, 3), "e5m2": fp(5, 2), "e2m1": fp(2, 1), "e1m2": fp(1, 2), "int8": {"type": "Int", "width": 8},
            "int4": {"type": "Int", "width": 4}, "e3m2": fp(3, 2)}
SCALE = fp(8, 0, sign=False)


@st.composite
def storage_types(draw, store):
    if not store and draw(st.integers(0, 5)) == 0:
        return {"format": "Plain", "DATA_TYPE": fp(8, 7)}
    element = ELEMENTS[draw(st.sampled_from(sorted(ELEMENTS)))]
    return {"format": "Mx", "block": draw(st.sampled_from([8, 16])), "ELEM": element, "SCALE": SCALE}


@st.composite
def programs(draw):
    """(settings document, DMAs): an operation, its precision and stride fields, and the registers it uses."""
    document = copy.deepcopy(settings_document())
    table = document["TRANSACTIONAL"]
    for key in ("HBM_M_WEIGHT_TYPE", "HBM_M_KV_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE"):
        table["PRECISION"][key] = draw(storage_types("_V_" in key))
    table["CONFIG"]["HBM_SIZE"]["value"] = HBM_SIZE
    table["CONFIG"]["HBM_CHANNELS"] = {"value": draw(st.sampled_from([1, 2, 8, 64]))}
    table["CONFIG"]["CLOCK_PERIOD_PS"] = {"value": draw(st.sampled_from([1000, 750]))}
    unit = draw(st.sampled_from([16, 16, 16, 8, 1]))  # 16 suits every block; the others are refused now and then
    dmas = draw(st.lists(st.tuples(
        st.sampled_from(["H_PREFETCH_M", "H_PREFETCH_V", "H_STORE_V"]), st.integers(0, 1), st.integers(0, 1),
        st.integers(0, 3).map(lambda k: k * 256), st.integers(0, 400).map(lambda k: k * unit),
        st.integers(0, 9).map(lambda k: k * unit), st.integers(0, 4096).map(lambda k: 2 * k),
        st.integers(0, 3000)), min_size=1, max_size=8))
    return document, dmas


def word(mnemonic, **fields):
    value = isa.BY_MNEMONIC[mnemonic].base
    for name, field in fields.items():
        shift, width = isa.FIELDS[isa.FIELD_OF.get(name, name)]
        assert field < 1 << width
        value |= field << shift
    return value


def code(dmas):
    """Words that load the registers and run each DMA."""
    words = []
    for op, precision, rstride, target, offset, step, scale, base in dmas:
        for register, value in (1, target), (2, offset), (3, step), (4, scale), (5, base):
            words.append(word("S_ADDI_INT", rd=register, rs1=0, imm18=value))
        words += [word("C_SET_STRIDE_REG", rd=3), word("C_SET_SCALE_REG", rd=4),
                  word("C_SET_ADDR_REG", rd=1, rs1=0, rs2=5),
                  word(op, rd=1, rs1=2, rs2=1, rstride=rstride, precision=precision)]
    return words


def write(directory, document, words):
    rng = np.random.default_rng(7)
    (directory / "plena_settings.toml").write_text(tomlkit.dumps(document))
    (directory / "generated_machine_code.mem").write_text("".join(f"{w:08X}\n" for w in words))
    (directory / "hbm_for_behave_sim.bin").write_bytes(rng.integers(0, 128, HBM_SIZE, dtype=np.uint8).tobytes())
    (directory / "fp_sram.bin").write_bytes(b"")
    (directory / "int_sram.bin").write_bytes(b"")
    rows = rng.normal(0, 3, 64 * 16).astype(np.float32).view(np.uint32) >> 16
    (directory / "vram_preload.bin").write_bytes(rows.astype("<u2").tobytes())


def canonical(name, raw):
    return nm.canonical_bf16(raw).rstrip(b"\0") if name != "hbm_dump.bin" else raw.rstrip(b"\0")


@pytest.mark.parametrize("threads", [1, 2])
def test_random_transfers(threads, tmp_path_factory):
    @given(programs())
    @configure(max_examples=30, deadline=None)
    def check(program):
        document, dmas = program
        directory = tmp_path_factory.mktemp("build")
        words = code(dmas)
        write(directory, document, words)
        expected = oracle.load(directory)
        try:
            expected.run(words)
        except OracleError as error:
            with pytest.raises(EmuError, match=f"pc={error.pc} "):
                plena_emu.run(str(directory), timing="rtl-v1", threads=threads)
            return
        found = plena_emu.run(str(directory), timing="rtl-v1", dump_dir=str(directory), dump_hbm=True, threads=threads)
        assert found.hardware.serial_latency_ps == expected.now
        assert (found.bytes_read, found.bytes_written) == expected.bytes_moved
        for name, raw in expected.dumps().items():
            assert canonical(name, (directory / name).read_bytes()) == canonical(name, raw), name
        assert json.loads(found.to_json())["hardware"]["dma_transfers"]["read_operations"] == sum(
            op != "H_STORE_V" for op, *_ in dmas)

    check()


@pytest.mark.parametrize("fields, message", [
    ((0, 0, 0, 8, 0, 0, 0), "offset, step or row length of 8 elements, expected a multiple of the block of 16"),
    ((0, 1, 0, 0, 8, 0, 0), "offset, step or row length of 8 elements"),
    ((0, 0, 0, 0, 0, 1, 0), "1 values of 4 bits are no whole number of bytes"),
])  # fmt: skip
def test_what_would_have_to_be_rounded_is_refused(fields, message, tmp_path):
    document = copy.deepcopy(settings_document())
    kind = {"format": "Mx", "block": 16, "ELEM": fp(2, 1), "SCALE": SCALE}
    document["TRANSACTIONAL"]["PRECISION"]["HBM_V_ACT_TYPE"] = kind
    document["TRANSACTIONAL"]["CONFIG"]["HBM_SIZE"]["value"] = HBM_SIZE
    write(tmp_path, document, code([("H_PREFETCH_V", *fields)]))
    with pytest.raises(EmuError, match=message) as error:
        plena_emu.run(str(tmp_path), dma="production")
    assert "pc=8" in str(error.value) and error.value.exit_code == 101


def test_bits_that_are_no_power_of_two_are_refused(tmp_path):
    document = copy.deepcopy(settings_document())
    kind = {"format": "Mx", "block": 16, "ELEM": fp(3, 2), "SCALE": SCALE}
    document["TRANSACTIONAL"]["PRECISION"]["HBM_V_ACT_TYPE"] = kind
    document["TRANSACTIONAL"]["CONFIG"]["HBM_SIZE"]["value"] = HBM_SIZE
    write(tmp_path, document, code([("H_PREFETCH_V", 0, 0, 0, 0, 0, 0, 0)]))
    with pytest.raises(EmuError, match="elements or scales of 6 bits, expected a power of two"):
        plena_emu.run(str(tmp_path), dma="production")
