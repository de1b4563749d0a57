"""The reference's stage profile: what each stage and pair of routed experts took, in two schemas (spec §8.3-§8.5)."""

import numpy as np

from ... import isa
from ...kernels import layout
from ...kernels.memory import ledger as lg
from ...program.decode import Program
from .expert_stages import OTHER, STAGES, ExpertLabels, Label

PS_PER_CYCLE = 1000
PS_PER_SECOND = 1e12
RESOURCES = ("matrix", "vector", "scalar", "dma", "ramulator_proxy", "other")
_RESOURCE_OF = {"M": "matrix", "V": "vector", "S": "scalar", "C": "scalar", "H": "dma"}

# Columns of the counters of a word.
_INSTRUCTIONS, _PS, _CYCLES, _READ, _WRITTEN = range(5)
_RESOURCES = slice(5, 5 + len(RESOURCES))
_WIDTH = _RESOURCES.stop

_CAVEAT = ("Durations are those of a serial run. A stage is what the comments of the assembly text say; what they do"
           " not say is other.")
_PROXY = "dma repeated"


def stage_profile(schema: int, labels: ExpertLabels, program: Program, counts: np.ndarray, ledger: lg.Ledger,
                  end_ps: int) -> dict:
    """Build the stage profile of a run.

    Parameters
    ----------
    schema : int
        1 or 2.
    labels : ExpertLabels
        Of the assembly text; a word without a label is `other`.
    counts : int64[words]
        How often each word was executed.
    ledger : Ledger
        What its transfers took.
    end_ps : int
        `end` of §3.1.

    Returns
    -------
    dict
        As JSON has it.
    """
    columns = _columns(program, counts, ledger)
    groups = _grouped(columns, labels.labels)
    total = columns.sum(axis=0).tolist()
    build = _first_schema if schema == 1 else _second_schema
    return build(labels, groups, total, end_ps)


def unclassified(labels: ExpertLabels) -> int:
    """Count the labels that are `other`."""
    return sum(label.stage == OTHER for label in labels.labels)


def _columns(program, counts, ledger):
    """int64[words, _WIDTH]: counters of each word; cycles are rounded up for each instruction."""
    table = program.table
    cost = table[:, layout.OP_COST]
    columns = np.zeros((len(table), _WIDTH), dtype=np.int64)
    columns[:, _INSTRUCTIONS] = counts
    columns[:, _PS] = counts * cost + ledger.by_pc[:, lg.LG_PS]
    columns[:, _CYCLES] = counts * -(-cost // PS_PER_CYCLE) + ledger.by_pc[:, lg.LG_CYCLES]
    columns[:, _READ] = ledger.by_pc[:, lg.LG_READ]
    columns[:, _WRITTEN] = ledger.by_pc[:, lg.LG_WRITTEN]
    resource = np.full(isa.NUM_OPS, RESOURCES.index("other"))
    for op in isa.OPS:
        resource[op.id] = RESOURCES.index(_RESOURCE_OF[op.mnemonic[0]])
    columns[np.arange(len(table)), _RESOURCES.start + resource[table[:, layout.OP_ID]]] = columns[:, _CYCLES]
    columns[:, _RESOURCES.start + RESOURCES.index("ramulator_proxy")] = columns[:, _RESOURCES.start + 3]
    return columns


def _grouped(columns, labels) -> dict[Label, list[int]]:
    """Sums by label of the words that were executed."""
    sums: dict[Label, np.ndarray] = {}
    executed = np.flatnonzero(columns[:, _INSTRUCTIONS])
    for word in executed.tolist():
        label = labels[word] if word < len(labels) else Label(OTHER, None)
        sums[label] = sums[label] + columns[word] if label in sums else columns[word]
    return {label: row.tolist() for label, row in sums.items()}


def _sum(rows):
    """Sum of rows of counters."""
    return [sum(column) for column in zip([0] * _WIDTH, *rows, strict=True)]


def _stage(groups, stage):
    return _sum(row for label, row in groups.items() if label.stage == stage)


def _pairs(groups, entry):
    """`pairs` of either schema: `entry` makes the figures of a row of counters."""
    numbers = sorted({label.pair for label in groups if label.pair is not None})
    found = {}
    for number in numbers:
        own = {label: row for label, row in groups.items() if label.pair == number}
        stages = {name: entry(_stage(own, name)) for name in STAGES}
        found[str(number)] = {**entry(_sum(own.values())), "stages": stages}
    return found


def _share(part, whole):
    return part / whole if whole else 0.0


def _first_schema(labels, groups, total, end_ps):
    def entry(row):
        return {"instructions": row[_INSTRUCTIONS], "seconds": row[_PS] / PS_PER_SECOND,
                "hbm_bytes_read": row[_READ], "hbm_bytes_written": row[_WRITTEN]}

    def with_fractions(row):
        return {"instructions": row[_INSTRUCTIONS], "seconds": row[_PS] / PS_PER_SECOND,
                "instruction_fraction": _share(row[_INSTRUCTIONS], total[_INSTRUCTIONS]),
                "time_fraction": _share(row[_PS], total[_PS]), "hbm_bytes_read": row[_READ],
                "hbm_bytes_written": row[_WRITTEN]}

    return {
        "schema_version": 1,
        "label_count": len(labels.labels),
        "total_instructions_executed": total[_INSTRUCTIONS],
        "total_profiled_seconds": total[_PS] / PS_PER_SECOND,
        "total_hbm_bytes_read": total[_READ],
        "total_hbm_bytes_written": total[_WRITTEN],
        "stages": {name: with_fractions(_stage(groups, name)) for name in STAGES},
        "pairs": _pairs(groups, entry),
        "caveat": _CAVEAT,
    }


def _second_schema(labels, groups, total, end_ps):
    def entry(row, fractions=None):
        return {
            "instructions": row[_INSTRUCTIONS], "wall_cycles": row[_CYCLES], "seconds": row[_PS] / PS_PER_SECOND,
            **(fractions or {}), "logical_bytes_read": None, "logical_bytes_written": None,
            "physical_hbm_bytes_read": row[_READ], "physical_hbm_bytes_written": row[_WRITTEN],
            "hbm_bytes_read": row[_READ], "hbm_bytes_written": row[_WRITTEN], "resource_proxy_cycles": resources(row),
        }

    def resources(row):
        return dict(zip(RESOURCES, row[_RESOURCES], strict=True))

    def with_fractions(row):
        return entry(row, {
            "instruction_fraction": _share(row[_INSTRUCTIONS], total[_INSTRUCTIONS]),
            "time_fraction": _share(row[_PS], total[_PS]), "cycle_fraction": _share(row[_CYCLES], total[_CYCLES]),
        })

    simulated = -(-end_ps // PS_PER_CYCLE)
    count, others = len(labels.labels), unclassified(labels)
    return {
        "schema_version": 2,
        "label_count": count,
        "total_instructions_executed": total[_INSTRUCTIONS],
        "total_simulation_cycles": simulated,
        "total_profiled_cycles": total[_CYCLES],
        "total_stage_wall_cycles": total[_CYCLES],
        "total_unprofiled_cycles": max(0, simulated - total[_CYCLES]),
        "cycle_accounting_status": "profiled_cycles_match_total" if simulated == total[_CYCLES]
        else "profiled_cycles_do_not_match_total",
        "total_profiled_seconds": total[_PS] / PS_PER_SECOND,
        "total_hbm_bytes_read": total[_READ],
        "total_hbm_bytes_written": total[_WRITTEN],
        "total_resource_proxy_cycles": resources(total),
        "logical_byte_status": "not known: the emulator sees 64-byte accesses",
        "physical_byte_status": "64 bytes an access, the reads of stores included",
        "resource_cycle_status": f"cycles of an instruction belong to the unit that executes it; ramulator_proxy is"
        f" {_PROXY}",
        "classification": {
            "routed_moe_markers_present": labels.has_markers, "label_count": count, "unclassified_labels": others,
            "unclassified_fraction": _share(others, count),
        },
        "stages": {name: with_fractions(_stage(groups, name)) for name in STAGES},
        "pairs": _pairs(groups, entry),
        "caveat": _CAVEAT,
    }
