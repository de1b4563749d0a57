"""The machine of one run: typed arrays for the passes, preloads in, dumps out (spec §1.1, §1.2)."""

import numpy as np

from ..config.settings import Settings
from ..inputs.number_formats import Mx
from ..kernels import layout
from ..kernels.compiler.placement import zeros_apart
from ..kernels.compiler.simd import cpu_has_pairs
from ..kernels.control.state import NO_LIMIT, ControlState, new_affine
from ..kernels.data.state import DataState
from ..kernels.limits import HBM_PAGE
from .dumps import DumpFile, hbm_pieces, matrix_pieces, vector_pieces
from .formats import Formats, pack_sram
from .lazy_arrays import HUGE_PAGE, lazy_zeros, touch, touch_ahead
from .preload import load_fp_sram, load_hbm, load_int_sram, load_vector_sram

LOOP_CAPACITY = 64
MOST_LOOP = 2**62  # instructions: no run gets there, and a sum with those executed stays in int64
SRAM_HUGE = 1 << 25  # bytes of an SRAM that may be in huge pages: programs use the low rows and tiles
LARGE_TILE = 1 << 16  # bytes from which on: with small tiles a program uses few MiB, and clearing may take longer


def new_geometry(settings: Settings, revision: str, hardware: bool = False) -> np.ndarray:
    """int64[CFG_WIDTH] of a run; `settings` already has its HBM size, `hardware` takes the machine of §7.1."""
    cfg = np.zeros(layout.CFG_WIDTH, dtype=np.int64)
    cfg[layout.CFG_MLEN] = settings.mlen
    cfg[layout.CFG_VLEN] = settings.vlen
    cfg[layout.CFG_BLEN] = settings.blen
    cfg[layout.CFG_HLEN] = settings.hlen
    cfg[layout.CFG_BROADCAST] = settings.broadcast
    cfg[layout.CFG_TILES] = settings.matrix_tiles
    cfg[layout.CFG_ROWS] = settings.vector_sram_size
    cfg[layout.CFG_MAX_LOOP] = min(settings.max_loop_instructions, MOST_LOOP)
    cfg[layout.CFG_MOE] = int(revision == "moe")
    cfg[layout.CFG_HBM_SIZE] = settings.hbm_size
    cfg[layout.CFG_SRAM_MANTISSA] = settings.sram_mantissa
    cfg[layout.CFG_MLEN_SHIFT] = _log2(settings.mlen)
    cfg[layout.CFG_VLEN_SHIFT] = _log2(settings.vlen)
    cfg[layout.CFG_BLEN_SHIFT] = _log2(settings.blen)
    cfg[layout.CFG_FP_SRAM] = layout.HARDWARE_FP_SRAM_SIZE if hardware else layout.FP_SRAM_SIZE
    cfg[layout.CFG_NARROW_HEADS] = int(hardware)
    return cfg


def _log2(value):
    return value.bit_length() - 1 if value > 0 and value & (value - 1) == 0 else -1


def dma_types(settings: Settings) -> tuple:
    """Storage type of every DMA descriptor, in the order of the descriptors."""
    return (
        settings.hbm_m_weight_type, settings.hbm_m_kv_type, settings.hbm_v_act_type, settings.hbm_v_kv_type,
        settings.hbm_v_act_type, settings.hbm_v_kv_type,
    )


def new_descriptors(settings: Settings, formats: Formats, packed: bool = False) -> np.ndarray:
    """int64[NUM_DESCRIPTORS, DESC_WIDTH]: what each unit and precision moves (§3.2, §3.3; `packed`: §7.2)."""
    descriptors = np.zeros((layout.NUM_DESCRIPTORS, layout.DESC_WIDTH), dtype=np.int64)
    for descriptor, kind in enumerate(dma_types(settings)):
        row = descriptors[descriptor]
        matrix = descriptor in (layout.DESCRIPTOR_M_WEIGHT, layout.DESCRIPTOR_M_KV)
        store = descriptor in (layout.DESCRIPTOR_STORE_ACT, layout.DESCRIPTOR_STORE_KV)
        n = settings.mlen if matrix else settings.vlen
        row[layout.DESC_ROWS] = settings.pm if matrix else settings.sv if store else settings.pv
        row[layout.DESC_ELEMENTS] = n
        row[layout.DESC_ROW_BYTES] = kind.elem.size_in_bits * n // 8
        row[layout.DESC_RATIO] = kind.ratio
        row[layout.DESC_STORE] = int(store)
        row[layout.DESC_FORMAT] = formats.id_of(kind.elem)
        row[layout.DESC_SCALE_FORMAT] = -1
        row[layout.DESC_TARGET] = int(not matrix)
        row[layout.DESC_PACKED] = int(packed)
        row[layout.DESC_BITS] = kind.elem.size_in_bits
        if isinstance(kind, Mx):
            row[layout.DESC_SCALE_BYTES] = kind.scale.size_in_bits * (n // kind.block) // 8
            row[layout.DESC_BLOCK] = kind.block
            row[layout.DESC_SCALE_BITS] = kind.scale.size_in_bits
            row[layout.DESC_SCALE_FORMAT] = formats.id_of(kind.scale)
    return descriptors


def new_control(trace_capacity: int) -> ControlState:
    """Registers at reset (§1.2)."""
    ctl = zeros_apart(layout.CTL_WIDTH, np.int64)
    ctl[layout.CTL_STRIDE] = 1
    ctl[layout.CTL_LIMIT_AT] = NO_LIMIT
    return ControlState(
        ctl=ctl,
        gp=ctl[layout.CTL_GP : layout.CTL_GP + 16],
        hbm=ctl[layout.CTL_ADDR : layout.CTL_ADDR + 16],
        int_sram=np.zeros(layout.INT_SRAM_SIZE, dtype=np.int64),
        loops=zeros_apart((LOOP_CAPACITY, layout.LOOP_WIDTH), np.int64),
        counts=np.zeros(0, dtype=np.int64),  # `Machine.count_words` knows how many words there are
        trace=np.zeros((trace_capacity, layout.TR_WIDTH), dtype=np.int64),
        affine=new_affine(),
    )


def new_data(settings: Settings, cfg, descriptors, formats: Formats, int_sram) -> DataState:
    """SRAMs, accumulators and HBM at reset; memory is used only where it is touched."""
    mlen, vlen, blen, heads = settings.mlen, settings.vlen, settings.blen, settings.broadcast
    huge = SRAM_HUGE if mlen * mlen * np.dtype(np.float32).itemsize >= LARGE_TILE else 0
    rows = lazy_zeros(settings.vector_sram_size * vlen, np.float32, "vector SRAM", huge=huge, again=True)
    tile_words = settings.matrix_tiles * mlen * mlen
    pages = (settings.hbm_size + (1 << HBM_PAGE) - 1) >> HBM_PAGE
    return DataState(
        cfg=cfg,
        descriptors=descriptors,
        formats=formats.rows,
        tables=formats.tables,
        halves=formats.halves,
        rows=rows,
        row_words=rows.view(np.uint32),
        row_pairs=lazy_zeros(settings.vector_sram_size * vlen // 2, np.uint32, "vector SRAM", huge=huge, again=True),
        row_touched=lazy_zeros(settings.vector_sram_size, np.uint8, "vector SRAM", again=True),
        tiles=lazy_zeros(tile_words, np.float32, "matrix SRAM", huge=huge, again=True),
        tile_pairs=lazy_zeros(tile_words // 2, np.uint32, "matrix SRAM", huge=huge, again=True),
        tile_touched=zeros_apart(settings.matrix_tiles, np.uint8),
        fp=zeros_apart(layout.FP_REGISTERS, np.float32),
        fp_sram=zeros_apart(int(cfg[layout.CFG_FP_SRAM]), np.float32),
        int_sram=int_sram,
        m_accum=zeros_apart(blen * blen, np.float32),
        hm_accum=lazy_zeros(heads * mlen * mlen, np.float32, "hm_accum", huge=huge, again=True),
        hv_accum=zeros_apart(heads * mlen, np.float32),
        v_accum=zeros_apart(blen, np.float32),
        hbm=lazy_zeros(settings.hbm_size, np.uint8, "HBM"),
        hbm_touched=lazy_zeros(pages, np.uint8, "HBM page map"),
        work=zeros_apart(max(32 * mlen, vlen, 128), np.float32),
        partial_sums=zeros_apart(max(mlen, vlen, 256), np.float32),
        codes=zeros_apart((2, max(4 * mlen, 4 * vlen)), np.uint8),
        exp_codes=np.zeros(1 << 16, dtype=np.uint16),
    )


def hand_state(data: DataState) -> DataState:
    """Make the state of a thread that runs M_MM, M_TMM and H_PREFETCH_M beside others, in the same SRAMs.

    Returns
    -------
    DataState
        With an accumulator, cleared, and scratch of its own.
    """
    own = {name: getattr(data, name) for name in ("m_accum", "work", "partial_sums", "codes")}
    return data._replace(**{name: zeros_apart(array.shape, array.dtype) for name, array in own.items()})


class Machine:
    """State of one run.

    Parameters
    ----------
    settings : Settings
        With the HBM size of the run.
    revision : str
        `base` or `moe`.
    trace_capacity : int
        Executed instructions a slice can record; 0 records none.
    hardware : bool
        The machine of §7.1: a larger fp SRAM, heads that need not fill a row.
    packed : bool
        Production DMA (§7.2).
    """

    def __init__(
        self, settings: Settings, revision: str, trace_capacity: int = 0, hardware: bool = False, packed: bool = False
    ):
        self.settings = settings
        self.revision = revision
        self.formats = Formats(dma_types(settings))
        self.cfg = new_geometry(settings, revision, hardware)
        self.descriptors = new_descriptors(settings, self.formats, packed)
        self.control = new_control(trace_capacity)
        self.data = new_data(settings, self.cfg, self.descriptors, self.formats, self.control.int_sram)
        self.preloaded = 0
        self._touched = [HUGE_PAGE, HUGE_PAGE]  # bytes of rows and of their pairs, once `touch_ahead` is done

    def load(self, hbm: str, fpsram: str, intsram: str | None, vram: str | None) -> None:
        """Read the preload files (§2.7)."""
        data = self.data
        self.preloaded = load_hbm(hbm, data.hbm)
        load_fp_sram(fpsram, data.fp_sram)
        if intsram is not None:
            load_int_sram(intsram, data.int_sram)
        if vram is not None:
            mantissa = self.settings.sram_mantissa
            load_vector_sram(vram, data.row_words, data.row_touched, self.settings.vlen, mantissa)

    def touch_ahead(self) -> None:
        """Have the low rows and tiles occupy memory by the time that data needs them, beside what else is loaded."""
        data = self.data
        pairs = [data.row_pairs, data.tile_pairs] if cpu_has_pairs() else []
        touch_ahead([data.rows, data.tiles, *pairs, data.hm_accum], HUGE_PAGE)

    def touch_rows(self, past: int) -> None:
        """Have the huge pages of the rows before `past` occupy memory, behind those of `touch_ahead`."""
        arrays = [self.data.rows, self.data.row_pairs] if cpu_has_pairs() else [self.data.rows]
        for which, array in enumerate(arrays):
            size = array.itemsize * (past * self.settings.vlen * len(array) // len(self.data.rows))
            end = min(-(-size // HUGE_PAGE) * HUGE_PAGE, SRAM_HUGE, array.nbytes)
            touch(array, self._touched[which], end)
            self._touched[which] = max(self._touched[which], end)

    def load_integers(self, intsram: str) -> None:
        """Read the int SRAM preload alone: all that control needs."""
        load_int_sram(intsram, self.data.int_sram)

    def count_words(self, words: int) -> None:
        """Make room to count executions of each word; the control pass must not run before."""
        self.control = self.control._replace(counts=zeros_apart(words, np.int64))

    def grow_loops(self) -> None:
        """Double the loop stack."""
        loops = self.control.loops
        self.control = self.control._replace(loops=np.concatenate((loops, np.zeros_like(loops))))

    def dump(self, name: str) -> DumpFile:
        """Say what one dump file holds (§2.7, §5.4).

        Returns
        -------
        DumpFile
        """
        return DumpFile(name, *self._dump_contents(name))

    def _dump_contents(self, name):
        s, d = self.settings, self.data
        if name == "vram_dump.bin":
            mantissa = s.sram_mantissa
            size = s.vector_sram_size * s.vlen * (9 + mantissa) // 8
            return size, vector_pieces(d.row_words, d.row_touched, s.vlen, mantissa)
        if name == "mram_dump.bin":
            mantissa = s.matrix_sram_mantissa
            size = s.matrix_tiles * s.mlen * s.mlen * (9 + mantissa) // 8
            return size, matrix_pieces(d.tiles, d.tile_touched, s.mlen, mantissa)
        if name == "fpsram_dump.bin":
            return 2 * len(d.fp_sram), [(0, pack_sram(d.fp_sram.view(np.uint32), 7))]
        if name == "intsram_dump.bin":
            return 4 * len(d.int_sram), [(0, d.int_sram.astype("<u4").tobytes())]
        if name == "hbm_dump.bin":
            return s.hbm_size, hbm_pieces(d.hbm, self.preloaded, d.hbm_touched)
        raise ValueError(f"no dump is called {name}")
