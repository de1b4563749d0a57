"""The tables of `plena-emu plan`."""

from ..running.planning import Plan
from .board_time import board_time_blocks, laid_over_rows, part_line, rounding
from .quantities import byte_count, duration, mib, milliseconds
from .table import Table, pairs, render

KINDS = ("weight", "kv", "activation", "total")


def plan_text(plan: Plan, width: int | None = None) -> str:
    """Write the plan for people: exact bytes where a byte decides, MiB and times elsewhere.

    Parameters
    ----------
    width : int, optional
        Columns of the terminal; None where lines may be as long as they are.

    Returns
    -------
    str
    """
    link = "none: times need --host-bandwidth"
    if plan.host_bandwidth is not None:
        link = f"{plan.host_bandwidth:,} bytes/s ({plan.host_bandwidth_from})"
    blocks = [
        *_headline(plan),
        f"Plan of {plan.manifest}",
        pairs((
            ("board", f"{plan.board}, {plan.clock_mhz:g} MHz{rounding(plan)}"),
            ("memory part", part_line(plan.part)),
            *laid_over_rows(plan.laid_over),
            ("DDR capacity", f"{byte_count(plan.capacity_bytes)} ({plan.capacity_from})"),
            ("host link", link),
            ("regime", plan.regime),
            *(("warning", warning) for warning in plan.warnings),
        ), indent=2),
        "",
        _footprints(plan),
        "",
        _regimes(plan.regimes, plan.regime, ""),
        "",
        f"{plan.layers} layer{'s' if plan.layers > 1 else ''} here. At this capacity: resident up to "
        f"{_layers(plan.resident_up_to_layers)}, kv-swap up to {_layers(plan.kv_swap_up_to_layers)}.",
    ]
    if plan.projected:
        far = plan.projected
        sizes = " | ".join(f"{kind} {amount}" for kind, amount in zip(KINDS, _mibs(far.footprint), strict=True))
        compute = "" if far.compute_ps is None else f"; compute {milliseconds(far.compute_ps)}"
        blocks += [f"At {far.layers} layers (a floor): {sizes}; regime {far.regime}{compute}", "",
                   _regimes(far.regimes, far.regime, f" at {far.layers} layers")]
    blocks += ["", f"Bounds hold if {' and '.join(plan.assumptions)}.{_without_compute(plan)}"]
    return render(blocks, width)


def _without_compute(plan):
    """Say which bounds leave compute out."""
    if plan.compute_ps is None:
        return " Compute is not part of them."
    if plan.projected and plan.projected.compute_ps is None:
        return f" Compute is not part of them at {plan.projected.layers} layers: nothing names those of the program."
    return ""


def _headline(plan):
    """Say what the program takes on the board at least, and what that is made of."""
    if plan.board_time_ps is None:
        return []
    link_ns = next(row.link_ns for row in plan.regimes if row.regime == plan.regime)
    compute = () if plan.compute_ps is None else (("compute", plan.compute_ps),)
    return board_time_blocks(f"{plan.board} at {plan.clock_mhz:g} MHz, {plan.regime}", plan.board_time_ps,
                             (*compute, ("memory", plan.memory_ps)), None if link_ns is None else 1000 * link_ns,
                             "at least ")


def _footprints(plan):
    rows = [(f"layer {sizes.layer_id}", *_mibs(sizes)) for sizes in plan.by_layer]
    if len(plan.by_layer) != 1:
        rows.append(("all layers", *_mibs(plan.footprint)))
    return Table(rows, "lrrrr", ("footprint", *KINDS))


def _mibs(sizes):
    return tuple(mib(getattr(sizes, kind)) for kind in KINDS)


def _regimes(regimes, chosen, where):
    rows = []
    for row in regimes:
        mark = " *" if row.regime == chosen else ""
        rows.append((row.regime + mark, f"{row.possible_from_bytes:,} B", f">= {row.link_bytes:,} B",
                     _time(row.link_ns, 1000), _time(row.run_ps, 1)))
    return Table(rows, "lrrrr", (f"regime{where}", "from capacity", "over the link", "link time", "run time"))


def _time(value, scale):
    """Write a lower bound in units of `scale` ps."""
    return "?" if value is None else f">= {duration(value * scale / 1e12)}"


def _layers(count):
    return "any number" if count is None else f"{count:,}"
