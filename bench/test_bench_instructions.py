"""How many instructions a second does each class of instructions reach?"""

import pytest
from workloads import Workload, bench_settings, drive, loop_of

CLASSES = {
    "integer": "S_ADDI_INT gp2, gp2, 3",
    "scalar fp": "S_ADD_FP f1, f2, f3",
    "fp SRAM": "S_LD_FP f1, gp0, 3",
    "vector add": "V_ADD_VV gp3, gp3, gp3, 0",
    "vector exp": "V_EXP_V gp3, gp3, 0",
    "reduction": "V_RED_SUM f1, gp3, 0",
    "M_MM": "M_MM 0, gp0, gp3",
    "M_TMM": "M_TMM 0, gp3, gp0",
    "write-out": "M_MM_WO gp3, gp0, 0",
}


@pytest.mark.parametrize("name", CLASSES)
def test_class(benchmark, name):
    workload = Workload(loop_of(CLASSES[name]), bench_settings())
    executed = benchmark.pedantic(drive, setup=lambda: ((workload.simulation(),), {}), rounds=5)
    benchmark.extra_info["instructions_per_s"] = executed / benchmark.stats.stats.median
