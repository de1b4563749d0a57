"""The rtl-v1 timeline (spec §7.6-§7.9): rule after rule, on lists and dictionaries."""

from dataclasses import dataclass, field

U32 = (1 << 32) - 1
FP_TWO = ("S_ADD_FP", "S_SUB_FP", "S_MUL_FP", "S_MAX_FP")
FP_ONE = ("S_EXP_FP", "S_RECI_FP", "S_SQRT_FP")
FP_SRAM = ("S_LD_FP", "S_ST_FP", "S_MAP_V_FP")
RESOURCES = {"V_": "vector_pipeline", "S_": "scalar_pipeline", "C_": "control_frontend"}
DMA = {"H_PREFETCH_M": "hbm_matrix_dma", "H_PREFETCH_V": "hbm_vector_dma", "H_STORE_V": "hbm_vector_store"}
OWN_SLOT = {"H_PREFETCH_M": "dma_m", "H_PREFETCH_V": "dma_v", "H_STORE_V": "dma_s"}
STATUS = {"M": "full_machine_measured", "X": "structural_extrapolation", "U": "unsupported_rtl",
          "R": "ramulator_observed"}


@dataclass(frozen=True)
class Machine:
    """What costs and ranges depend on; types are (exponent, mantissa), None for an integer type."""

    mlen: int
    vlen: int
    blen: int
    broadcast: int
    pm: int
    pv: int
    sv: int
    weight: tuple[int, int] | None
    matrix_sram: tuple[int, int] | None
    vector_sram: tuple[int, int] | None
    scalar: tuple[int, int] | None


@dataclass
class Event:
    """One placed instruction (§7.11)."""

    sequence: int
    pc: int
    opcode: str
    issue: int
    accepted: int
    recovery: int
    start: int
    ready: int
    completion: int
    resource: str
    status: str
    supported: bool
    in_domain: bool
    reason: str = ""
    dependency: int | None = None

    @property
    def text(self) -> str:
        """The line of `trace_sha256`."""
        values = (self.sequence, self.pc, self.opcode, self.issue, self.accepted, self.recovery, self.start, self.ready,
                  self.completion, self.resource, self.status, int(self.supported), int(self.in_domain), self.reason,
                  "" if self.dependency is None else self.dependency)
        return ",".join(map(str, values)) + "\n"


def resource_of(op: str) -> str:
    if op in DMA:
        return DMA[op]
    if op.startswith("M_"):
        return "matrix_writeout" if op.endswith("_WO") else "matrix_compute"
    return RESOURCES[op[:2]]


# --- costs (§7.7) -------------------------------------------------------------------------------

E4M3, E8M7, E6M5 = (4, 3), (8, 7), (6, 5)
SHAPES = ((16, 4), (32, 4), (64, 4), (32, 8), (64, 8), (64, 16))


def matrix_cost(op: str, m: Machine):
    """(cycles, status letter, supported, in domain)."""
    blen, mlen = m.blen, m.mlen
    types = m.weight == E4M3 and m.matrix_sram == E8M7
    domain = types and mlen <= 64 and blen <= 16
    if m.weight is not None:
        measured = "M" if types and (mlen, blen) in SHAPES else "X"
        return {
            "M_MM": (blen + 4, measured, True, domain), "M_TMM": (blen + 4, "X", True, domain),
            "M_BMM": (blen + 4, "U", False, False), "M_BTMM": (blen + 4, "U", False, False),
            "M_MV": (mlen + 4, "X", True, False), "M_TMV": (mlen + 4, "X", True, False),
            "M_BMV": (mlen + 4, "U", False, False), "M_BTMV": (mlen + 4, "U", False, False),
            "M_MM_WO": (2 * blen + 13, "U", False, False), "M_BMM_WO": (2 * blen + 13, "U", False, False),
            "M_MV_WO": (4, "X", True, False), "M_BMV_WO": (4, "U", False, False),
        }[op]  # fmt: skip
    square, row, out = 2 * blen + 8, mlen + 2 * blen + 8, blen + 2
    return {
        "M_MM": (square, "X", True, False), "M_TMM": (square, "X", True, False),
        "M_BMM": (square, "U", False, False), "M_BTMM": (square, "U", False, False),
        "M_MV": (row, "U", False, False), "M_TMV": (row, "U", False, False),
        "M_BMV": (row, "U", False, False), "M_BTMV": (row, "U", False, False),
        "M_MM_WO": (out, "X", True, False), "M_BMM_WO": (out, "U", False, False),
        "M_MV_WO": (out, "U", False, False), "M_BMV_WO": (out, "U", False, False),
    }[op]  # fmt: skip


def cost(op: str, m: Machine, service: int):
    """(ready, busy, initiation interval, status letter, supported, in domain)."""
    if op in DMA:
        return service, service, service, "R", True, True
    if op.startswith("M_"):
        cycles, *rest = matrix_cost(op, m)
        return cycles, cycles, cycles, *rest
    if op.startswith("C_"):
        return 1, 1, 1, "X", True, True
    if op in ("S_LD_FP", "S_ST_FP") or op.endswith("_INT"):
        return 1, 1, 1, "X", True, False
    if op == "V_SHIFT_V":
        return 1, 1, 1, "U", False, False
    if op == "S_MAX_FP":
        return 10, 10, 10, "U", False, False
    levels = m.vlen.bit_length()  # ceil(log2(VLEN + 1))
    by_width = (m.vlen, m.vector_sram) in {(v, E8M7) for v in (8, 16, 32, 64)} | {(32, E6M5)}
    by_scalar_width = (m.vlen, m.scalar) in {(v, E8M7) for v in (8, 16, 32, 64)} | {(32, E6M5)}
    if op.startswith("V_"):
        table = {
            "V_ADD_VV": (12, 12, 1), "V_SUB_VV": (12, 12, 1), "V_ADD_VF": (13, 13, 1), "V_SUB_VF": (13, 13, 1),
            "V_MUL_VV": (10, 10, 1), "V_MUL_VF": (11, 11, 1), "V_EXP_V": (21, 21, 1), "V_RECI_V": (11, 11, 1),
            "V_RED_SUM": (5 + 7 * levels,) * 3, "V_RED_MAX": (5 + 2 * levels,) * 3,
        }  # fmt: skip
        measured = by_width
    else:
        table = {
            "S_ADD_FP": (9, 10, 10), "S_SUB_FP": (9, 10, 10), "S_RECI_FP": (9, 10, 10), "S_MUL_FP": (7, 8, 8),
            "S_EXP_FP": (19, 20, 20), "S_SQRT_FP": (5, 6, 6), "S_MAP_V_FP": (m.vlen + 3, m.vlen + 4, m.vlen + 4),
        }  # fmt: skip
        measured = by_scalar_width if op == "S_MAP_V_FP" else m.scalar in (E8M7, E6M5)
    return *table[op], "M" if measured else "X", True, measured


# --- ranges (§7.8) ------------------------------------------------------------------------------


@dataclass
class Access:
    """Half-open element ranges and fp registers an instruction reads and writes."""

    matrix_reads: list = field(default_factory=list)
    matrix_writes: list = field(default_factory=list)
    vector_reads: list = field(default_factory=list)
    vector_writes: list = field(default_factory=list)
    fp_reads: list = field(default_factory=list)
    fp_writes: list = field(default_factory=list)


def access(op: str, f: dict, gp, m: Machine) -> Access:
    """Ranges of an instruction with the registers before it; fp0 is never among them."""
    a = Access()
    rd, rs1, rs2 = gp[f["rd"]], gp[f["rs1"]], gp[f["rs2"]]

    def row(x):
        return (x, x + m.vlen)

    def tile(x):
        return (x, x + m.mlen**2)

    if op == "H_PREFETCH_M":
        a.matrix_writes = [(rd, rd + m.pm * m.mlen)]
    elif op == "H_PREFETCH_V":
        a.vector_writes = [(rd, rd + m.pv * m.vlen)]
    elif op == "H_STORE_V":
        a.vector_reads = [(rd, rd + m.sv * m.vlen)]
    elif op in ("M_MM", "M_BMM", "M_BTMM"):
        a.matrix_reads, a.vector_reads = [tile(rs1)], [(rs2, rs2 + m.mlen * m.vlen)]
    elif op == "M_TMM":
        a.matrix_reads, a.vector_reads = [tile(rs2)], [(rs1, rs1 + m.mlen * m.vlen)]
    elif op in ("M_MV", "M_TMV", "M_BMV", "M_BTMV"):
        a.matrix_reads, a.vector_reads = [tile(rs1)], [row(rs2)]
    elif op.endswith("_WO"):
        first = rd + f["imm18"] & U32
        if op == "M_MM_WO":
            first -= first % m.mlen
            stride = 1 if f["rs1"] == 0 else rs1
            a.vector_writes = [(first + i * m.mlen * stride, first + i * m.mlen * stride + m.mlen)
                               for i in range(m.blen)]
        else:
            size = {"M_BMM_WO": m.broadcast * m.mlen**2, "M_MV_WO": m.mlen, "M_BMV_WO": m.broadcast * m.mlen}[op]
            a.vector_writes = [(first, first + size)]
    elif op.startswith("V_RED"):
        a.vector_reads, a.fp_reads, a.fp_writes = [row(rs1)], [f["rd"]], [f["rd"]]
    elif op.startswith("V_"):
        a.vector_reads, a.vector_writes = [row(rs1)], [row(rd)]
        if op.endswith("_VV"):
            a.vector_reads.append(row(rs2))
        if op.endswith("_VF"):
            a.fp_reads = [f["rs2"]]
    elif op in FP_TWO:
        a.fp_reads, a.fp_writes = [f["rs1"], f["rs2"]], [f["rd"]]
    elif op in FP_ONE:
        a.fp_reads, a.fp_writes = [f["rs1"]], [f["rd"]]
    elif op == "S_LD_FP":
        a.fp_writes = [f["rd"]]
    elif op == "S_ST_FP":
        a.fp_reads = [f["rd"]]
    elif op == "S_MAP_V_FP":
        a.vector_writes = [row(rd)]
    a.fp_reads = [r for r in a.fp_reads if r]
    a.fp_writes = [r for r in a.fp_writes if r]
    return a


# --- placement (§7.9) ---------------------------------------------------------------------------


@dataclass
class Slot:
    until: int = 0
    owner: int | None = None


class Timeline:
    """The state of §7.9; `place` adds an instruction and returns its `Event`."""

    def __init__(self, machine: Machine):
        self.m = machine
        self.next_issue = 0
        self.slots: dict[object, Slot] = {}
        self.latency = None
        self.matrix_pending: list = []  # ((first, last), until, owner)
        self.vector_pending: list = []
        self.pulses: list = []  # (s, owner)
        self.makespan = 0
        self.events: list[Event] = []

    def slot(self, name) -> Slot:
        return self.slots.setdefault(name, Slot())

    def wait(self, slot: Slot, reason: str) -> None:
        if slot.until > self.c:
            self.c, self.reason, self.dep = slot.until, reason, slot.owner

    def _wait_for_ranges(self, ranges, pending, reason):
        for (first, last), until, owner in pending:
            if any(a < last and first < b for a, b in ranges):
                self.wait(Slot(until, owner), reason)

    def place(self, pc: int, op: str, f: dict, gp, service: int = 0) -> Event:
        issue = self.c = self.next_issue
        self.reason, self.dep = "", None
        sequence = len(self.events)
        a = access(op, f, gp, self.m)
        ready, busy, interval, status, supported, in_domain = cost(op, self.m, service)
        # 1, 2
        self.matrix_pending = [p for p in self.matrix_pending if p[1] > issue]
        self.vector_pending = [p for p in self.vector_pending if p[1] > issue]
        self.pulses = [p for p in self.pulses if p[0] + 1 > issue]
        self._wait_for_ranges(a.matrix_reads, self.matrix_pending, "matrix_sram_operand_not_ready")
        self._wait_for_ranges(a.vector_reads, self.vector_pending, "vector_sram_operand_not_ready")
        self._wait_for_ranges(a.matrix_writes, self.matrix_pending, "matrix_sram_write_collision")
        self._wait_for_ranges(a.vector_writes, self.vector_pending, "vector_sram_write_collision")
        # 3
        if op[:2] in ("M_", "V_"):
            while hit := [owner for s, owner in self.pulses if s == self.c]:
                self.c, self.reason, self.dep = self.c + 1, "vector_sram_port_a_write", hit[-1]
        # 4
        self._wait_for_units(op, ready)
        if op.startswith("V_") or op.startswith("S_") and not op.endswith("_INT"):
            for r in a.fp_reads:
                self.wait(self.slot(r), "scalar_fp_operand_not_ready")
            for r in a.fp_writes:
                self.wait(self.slot(r), "scalar_fp_write_port_busy")
        # 5, 6
        recovery = int(self.c > issue)
        start = accepted = self.c + recovery
        if op.startswith("M_") and op.endswith("_WO") and self.slot("mcomp").until > start:
            start, self.dep, self.reason = self.slot("mcomp").until, self.slot("mcomp").owner, "matrix_result_not_ready"
        # 7, 8
        self._occupy(op, a, sequence, start, ready, busy, interval)
        self.next_issue = accepted + 1
        self.makespan = max(self.makespan, start + busy)
        event = Event(sequence, pc, op, issue, accepted, recovery, start, start + ready, start + busy, resource_of(op),
                      STATUS[status], supported, in_domain, self.reason, self.dep)
        self.events.append(event)
        return event

    def _wait_for_units(self, op, ready):
        def wait(name, reason):
            self.wait(self.slot(name), reason)

        if op in DMA:
            wait("shared", "hbm_request_port_busy")
            wait(OWN_SLOT[op], {"dma_m": "matrix_dma_busy", "dma_v": "vector_dma_busy",
                                "dma_s": "vector_store_busy"}[OWN_SLOT[op]])
            if op != "H_PREFETCH_M":
                wait("mcomp", "matrix_vector_sram_conflict")
                wait("vpipe", "vector_sram_port_busy")
        elif op.startswith("M_") and op.endswith("_WO"):
            wait("mwo", "matrix_writeout_active")
        elif op.startswith("M_"):
            wait("mcomp", "matrix_mcu_active")
            wait("mwo", "matrix_writeout_active")
            wait("dma_v", "vector_prefetch_in_progress")
            wait("dma_s", "vector_store_in_progress")
        elif op.startswith("V_"):
            wait("vpipe", "vector_pipeline_busy")
            wait("dma_v", "vector_prefetch_in_progress")
            wait("dma_s", "vector_store_in_progress")
            if op.endswith("_VF"):
                wait("fpcomp", "scalar_fp_compute_in_progress")
            if not op.startswith("V_RED") and self.latency is not None and ready != self.latency:
                wait("velem", "vector_mixed_latency_in_order")
        elif op in FP_TWO + FP_ONE + FP_SRAM:
            wait("vred", "vector_reduction_result_not_ready")
            if op in FP_SRAM:
                wait("fpsram", "scalar_fp_sram_busy")
            else:
                wait("fpcomp", "scalar_fp_compute_in_progress")
        elif op == "C_BREAK":
            wait("dma_v", "vector_prefetch_in_progress")

    def _occupy(self, op, a, owner, start, ready, busy, interval):
        result, completion = start + ready, start + busy

        def hold(name, until):
            self.slots[name] = Slot(until, owner)

        if op in DMA:
            hold("shared", completion)
            hold(OWN_SLOT[op], completion)
        elif op.startswith("M_"):
            hold("mwo" if op.endswith("_WO") else "mcomp", completion)
        elif op.startswith("V_RED"):
            hold("vpipe", completion)
            hold("vred", result)
        elif op.startswith("V_"):
            hold("vpipe", start + interval)
            hold("velem", result)
            self.latency = ready
            self.pulses.append((result, owner))
        elif op in FP_TWO + FP_ONE:
            hold("fpcomp", completion)
        elif op in FP_SRAM:
            hold("fpsram", completion)
        self.matrix_pending += [(r, result, owner) for r in a.matrix_writes]
        self.vector_pending += [(r, result, owner) for r in a.vector_writes]
        for register in a.fp_writes:
            hold(register, result)
