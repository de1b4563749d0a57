"""Is a machine's memory given back when its run is over, and not when garbage is next collected?"""

import gc
import time
import weakref
from pathlib import Path

import pytest

import plena_emu
from plena_emu.machine.core import Machine

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"


@pytest.mark.parametrize("timing_only", [False, True])
@pytest.mark.parametrize("memory_model", ["resident", "hbm"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_machine_does_not_outlive_its_run(monkeypatch, threads, memory_model, timing_only):
    made = []
    build = Machine.__init__

    def noting(self, *arguments, **named):
        build(self, *arguments, **named)
        made.append(weakref.ref(self))

    monkeypatch.setattr(Machine, "__init__", noting)
    gc.collect()
    gc.disable()
    try:
        plena_emu.run(EXAMPLE, memory_model=memory_model, timing_only=timing_only, threads=threads, dump_dir=None)
        for _ in range(500):  # a thread may still be dropping its last job
            if all(ref() is None for ref in made):
                break
            time.sleep(0.01)
        assert made and all(ref() is None for ref in made)
    finally:
        gc.enable()
