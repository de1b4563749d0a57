"""Does a transfer write to the SRAM rows that exist, and to nothing else, whatever VLEN and the number of rows?"""

import msgspec
import numpy as np
import pytest

from plena_emu import isa
from plena_emu.config.settings import default_settings
from plena_emu.inputs.number_formats import Fp, Mx, Plain
from plena_emu.kernels import layout
from plena_emu.kernels.data.data import data_slice
from plena_emu.kernels.data.plan import ALONE, NO_PLAN
from plena_emu.machine.core import Machine

GUARD = 64  # words around an array
CANARY = 0xDEADBEEF
AMOUNT = 5  # rows of a prefetch
BF16 = Plain(Fp(True, 8, 7))


def machine_of(vlen, rows, kind):
    settings = msgspec.structs.replace(
        default_settings(), vlen=vlen, hlen=vlen, vector_sram_size=rows, hbm_v_prefetch_amount=AMOUNT,
        hbm_v_act_type=kind, hbm_v_kv_type=kind, hbm_size=4096,
    )
    return Machine(settings, "base")


def guarded(machine):
    """The machine's data with words of canaries before and behind the vector SRAM."""
    size = len(machine.data.row_words)
    words = np.full(size + 2 * GUARD, CANARY, dtype=np.uint32)
    words[GUARD : GUARD + size] = 0
    touched = np.full(len(machine.data.row_touched) + 2 * GUARD, 77, dtype=np.uint8)
    touched[GUARD:-GUARD] = 0
    inner = words[GUARD : GUARD + size]
    data = machine.data._replace(rows=inner.view(np.float32), row_words=inner, row_touched=touched[GUARD:-GUARD])
    return words, touched, data


@pytest.mark.parametrize("kind", [BF16, Mx(Fp(True, 4, 3), Fp(False, 8, 0), 1)], ids=["bf16", "mx"])
@pytest.mark.parametrize("vlen", [*range(1, 10), 12, 15, 16, 17])
def test_prefetched_rows_past_the_end_are_dropped(vlen, kind):
    for rows in range(1, 9):
        for first in (0, rows - 1, rows, rows + 1, rows + 3, rows + 100, 2**31 // vlen):
            machine = machine_of(vlen, rows, kind)
            machine.data.hbm[:] = 0x3F  # bf16 0x3F3F; MX: element 0x3F times scale 2^-64
            words, touched, data = guarded(machine)
            event = [isa.H_PREFETCH_V, first, layout.DESCRIPTOR_V_ACT, 0, 2048, vlen]
            events = np.array([event + [0] * (layout.EV_WIDTH - len(event))], dtype=np.int64)
            assert data_slice(events, 0, 1, ALONE, NO_PLAN, data) == 1
            size = rows * vlen
            written = words[GUARD : GUARD + size].reshape(rows, vlen)
            kept = list(range(first, min(rows, first + AMOUNT)))
            assert [row for row in range(rows) if written[row].any()] == kept
            assert written[kept, 0].all() and (kind != BF16 or written[kept].all())  # scales may end early (§3.2)
            assert (words[:GUARD] == CANARY).all() and (words[GUARD + size :] == CANARY).all(), (vlen, rows, first)
            assert np.flatnonzero(touched == 1).tolist() == [GUARD + row for row in kept]
            assert (touched[:GUARD] == 77).all() and (touched[-GUARD:] == 77).all()
