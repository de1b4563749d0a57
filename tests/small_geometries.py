"""Single instructions on machines of every small geometry, with arrays whose surroundings are watched.

As a script: try the geometries of the given seeds, in whatever mode the environment selects for numba. With
NUMBA_BOUNDSCHECK=1 an index past an array is an IndexError; watched surroundings see what goes through pointers.
"""

import random
import sys

import msgspec
import numpy as np

from plena_emu import isa
from plena_emu.config.settings import default_settings
from plena_emu.inputs.number_formats import Fp, Int, Mx, Plain
from plena_emu.kernels import layout
from plena_emu.kernels import status as st
from plena_emu.kernels.control.control import control_slice
from plena_emu.kernels.data.data import data_slice
from plena_emu.kernels.data.plan import ALONE, NO_PLAN
from plena_emu.machine.core import Machine
from plena_emu.memory.models import open_model
from plena_emu.running.platform import NO_MANIFEST

GUARD = 64  # elements around each array
CANARY = 0xA5
WRITTEN = ("rows", "row_pairs", "row_touched", "tiles", "tile_pairs", "tile_touched", "fp", "fp_sram", "m_accum",
           "hm_accum", "hv_accum", "v_accum", "hbm", "hbm_touched", "work", "partial_sums", "exp_codes")
TRIALS = 12  # of each operation on a machine
FLOATS = (Fp(True, 4, 3), Fp(True, 5, 2), Fp(True, 2, 1), Fp(True, 8, 7), Fp(True, 8, 23), Int(8), Int(4))


def _storage(rng, length):
    """A type whose rows of `length` elements are whole bytes and whole blocks."""
    kinds = [kind for kind in FLOATS if kind.size_in_bits * length % 8 == 0]
    element = rng.choice(kinds)
    if rng.random() < 0.3:
        return Plain(element)
    block = rng.choice([n for n in range(1, length + 1) if length % n == 0])
    scale = Fp(False, *rng.choice([(8, 0), (4, 0), (4, 4)]))
    return Mx(element, scale, block) if element.size_in_bits * block % scale.size_in_bits == 0 else Plain(element)


def settings_of(rng):
    """Settings of a random small geometry, as far as a settings file may have them."""
    vlen, mlen, blen = rng.randint(1, 17), rng.randint(1, 17), rng.randint(1, 9)
    if rng.random() < 0.2:  # one whose products may take pairs of bf16
        vlen = mlen = rng.choice((32, 64))
        blen = rng.choice((8, 16, 32))
    hlen = rng.choice([n for n in range(1, 18) if n >= vlen or vlen % n == 0])
    sram = Plain(Fp(True, 8, rng.choice([7, 7, 10, 23])))
    return msgspec.structs.replace(
        default_settings(), vlen=vlen, mlen=mlen, blen=blen, hlen=hlen, broadcast=rng.randint(1, 5),
        hbm_size=rng.randint(1, 4096), matrix_sram_size=rng.randint(1, 4 * mlen), vector_sram_size=rng.randint(1, 40),
        hbm_m_prefetch_amount=rng.randint(0, 2 * mlen), hbm_v_prefetch_amount=rng.randint(0, 9),
        hbm_v_writeback_amount=rng.randint(0, 9), matrix_sram_type=sram, vector_sram_type=sram,
        hbm_m_weight_type=_storage(rng, mlen), hbm_m_kv_type=_storage(rng, mlen),
        hbm_v_act_type=_storage(rng, vlen), hbm_v_kv_type=_storage(rng, vlen),
    )  # fmt: skip


def guard(machine):
    """Put canaries around every array that the data pass writes; returns (whole bytes, bytes of the guard) of each."""
    watched, fields = [], {}
    for name in WRITTEN:
        array = getattr(machine.data, name)
        size = GUARD * array.itemsize
        whole = np.full(array.nbytes + 2 * size, CANARY, dtype=np.uint8)
        fields[name] = whole[size : size + array.nbytes].view(array.dtype)
        fields[name][:] = array
        watched.append((name, whole, size))
    fields["row_words"] = fields["rows"].view(np.uint32)
    machine.data = machine.data._replace(**fields)
    return watched


def _value(rng, machine):
    """What a register may hold: an address of something, next to an edge, or anything."""
    s = machine.settings
    unit = rng.choice([1, s.vlen, s.mlen, s.blen, s.mlen * s.mlen, s.mlen * s.vlen, s.hlen])
    edge = rng.choice([0, s.vector_sram_size * s.vlen, s.matrix_tiles * s.mlen * s.mlen, s.hbm_size, 1024])
    value = rng.choice([unit * rng.randint(0, 12), edge - unit * rng.randint(0, 3), edge + unit * rng.randint(0, 3),
                        edge, rng.randrange(1 << 32), (1 << 32) - unit])
    return value & 0xFFFFFFFF


def _table(rng, op, machine):
    """A decoded program of one instruction with random operands."""
    table = np.zeros((1, layout.OP_WIDTH), dtype=np.int64)
    table[0, layout.OP_ID] = op
    for column in (layout.OP_RD, layout.OP_RS1, layout.OP_RS2, layout.OP_RS3):
        table[0, column] = rng.randrange(8 if rng.random() < 0.5 else 16)
    table[0, layout.OP_F1] = rng.randrange(2)
    table[0, layout.OP_IMM] = rng.choice([0, 1, rng.randrange(64), rng.randrange(1 << 18)])
    return table


def run_geometry(seed: int) -> tuple[str, int]:
    """Try every operation on one machine: (its geometry in words, how many instructions were legal).

    Raises whatever a kernel raises, and AssertionError where something around an array has changed.
    """
    rng = random.Random(seed)
    machine = Machine(settings_of(rng), rng.choice(isa.REVISIONS), hardware=rng.random() < 0.2)
    s = machine.settings
    what = f"seed {seed}: MLEN {s.mlen} VLEN {s.vlen} BLEN {s.blen} HLEN {s.hlen} broadcast {s.broadcast}"
    machine.data.hbm[:] = np.frombuffer(rng.randbytes(s.hbm_size), dtype=np.uint8)
    watched = guard(machine)
    machine.count_words(1)
    events, mem_events = np.zeros((4, layout.EV_WIDTH), np.int64), np.zeros((4, layout.MEV_WIDTH), np.int64)
    control, legal = machine.control, 0
    model = open_model("hbm", NO_MANIFEST, machine.descriptors, capacity=None, bandwidth=None,
                       dram=rng.choice([None, "ddr4"]), revision=machine.revision)
    for op in [one.id for one in isa.OPS if one.name(machine.revision)] * TRIALS:
        table = _table(rng, op, machine)
        control.ctl[layout.CFG_WIDTH :] = 0
        control.ctl[layout.CTL_LIMIT_AT] = np.iinfo(np.int64).max
        control.gp[1:] = [_value(rng, machine) for _ in range(15)]
        control.hbm[:] = [rng.choice([0, 0, rng.randrange(s.hbm_size), -64, 1 << 62]) for _ in range(16)]
        for slot in (layout.CTL_SCALE, layout.CTL_STRIDE):
            control.ctl[slot] = rng.choice([0, 1, s.vlen, s.hbm_size, _value(rng, machine)])
        control.ctl[layout.CTL_VMASK] = rng.choice([0, 1, 0xFF, rng.randrange(1 << 32)])
        status = control_slice(table, machine.cfg, machine.descriptors, control, events, mem_events, 1)
        count = int(control.ctl[layout.CTL_EVENTS])
        if status < st.FIRST_ERROR:
            legal += count
            data_slice(events, 0, count, ALONE, NO_PLAN, machine.data)
            model.advance(mem_events, int(control.ctl[layout.CTL_MEM_EVENTS]))
        for name, whole, size in watched:
            kept = (whole[:size] == CANARY).all() and (whole[-size:] == CANARY).all()
            assert kept, f"{what}: {isa.BY_ID[op]} wrote beside {name}"
    return what, legal


def main(arguments: list[str]) -> int:
    """Try the geometries of seeds FIRST to LAST; prints what failed."""
    first, last = map(int, arguments)
    failed = legal = 0
    for seed in range(first, last):
        try:
            legal += run_geometry(seed)[1]
        except (IndexError, AssertionError) as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}")
    print(f"tried {last - first} geometries, {legal} legal instructions, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
