"""The tables of `plena-emu plan`."""

from ..manifests.generate import mib
from ..planning import Plan

KINDS = ("weight", "kv", "activation", "total")


def plan_text(plan: Plan) -> str:
    """The plan for people: exact bytes where a byte decides, MiB and times elsewhere."""
    link = "none: times need --host-bandwidth"
    if plan.host_bandwidth is not None:
        link = f"{plan.host_bandwidth:,} bytes/s ({plan.host_bandwidth_from})"
    lines = [
        f"Plan of {plan.manifest}",
        f"  board         {plan.board}",
        f"  DDR capacity  {plan.capacity_bytes:,} bytes = {mib(plan.capacity_bytes)} ({plan.capacity_from})",
        f"  host link     {link}",
        f"  regime        {plan.regime}",
        *(f"  warning       {warning}" for warning in plan.warnings),
        "",
        *_footprints(plan),
        "",
        *_regimes(plan.regimes, plan.regime, ""),
        "",
        f"{plan.layers} layer{'s' if plan.layers > 1 else ''} here. At this capacity: resident up to "
        f"{_layers(plan.resident_up_to_layers)}, kv-swap up to {_layers(plan.kv_swap_up_to_layers)}.",
    ]
    if plan.projected:
        far = plan.projected
        sizes = " | ".join(f"{kind} {size}" for kind, size in zip(KINDS, _mibs(far.footprint)))
        lines += [f"At {far.layers} layers (a floor): {sizes}; regime {far.regime}", "",
                  *_regimes(far.regimes, far.regime, f" at {far.layers} layers")]
    lines += ["", f"Bounds hold if {' and '.join(plan.assumptions)}."]
    return "\n".join(lines)


def _footprints(plan):
    rows = [("footprint", *KINDS)]
    for sizes in plan.by_layer:
        rows.append((f"layer {sizes.layer_id}", *_mibs(sizes)))
    if len(plan.by_layer) != 1:
        rows.append(("all layers", *_mibs(plan.footprint)))
    return _aligned(rows)


def _mibs(sizes):
    return tuple(mib(getattr(sizes, kind)) for kind in KINDS)


def _regimes(regimes, chosen, where):
    rows = [(f"regime{where}", "from capacity", "over the link", "link time", "run time")]
    for row in regimes:
        mark = " *" if row.regime == chosen else ""
        rows.append((row.regime + mark, f"{row.possible_from_bytes:,} B", f">= {row.link_bytes:,} B",
                     _time(row.link_ns, 1000), _time(row.run_ps, 1)))
    return _aligned(rows)


def _time(value, scale):
    """`>= 1.234 ms` of a time in units of `scale` ps; milliseconds throughout, so that rows compare."""
    return "?" if value is None else f">= {value * scale / 1e9:,.3f} ms"


def _layers(count):
    return "any number" if count is None else f"{count:,}"


def _aligned(rows):
    """Rows of text as columns: the first to the left, the others to the right."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
            for row in rows]
