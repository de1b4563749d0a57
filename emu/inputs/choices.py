"""What a run can be asked for by name, and what counts where nothing is asked for. Imports nothing: `--help` is
served with it."""

MEMORY_MODELS = ("hbm", "layer-swap", "host-stream", "auto", "resident", "kv-swap", "weight-stream")
DMAS = ("reference", "production")
PROFILE_LEVELS = ("aggregate", "opcode")
SCHEDULES = ("plain", "overlap")  # of a compiled model
DEFAULT_DDR_CAPACITY = 512 * 2**20  # bytes
DEFAULT_HOST_BANDWIDTH = 60_000_000  # bytes/s
DEFAULT_MODEL = "hbm"  # without a board
MOST_THREADS = 64
IDEALISED = "idealised"  # in place of a DRAM's name: the idealised DDR of §3.5, also behind the model hbm
MOST_CHANNELS = 256  # of hbm2 with production DMA (spec §7.1)
