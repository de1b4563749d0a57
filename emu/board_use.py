"""What a board changes about a run: settings, DDR capacity, host bandwidth (spec §6.2)."""

from .request import RunRequest
from .settings import Settings


class BoardUse:
    """A run's board, or none: then flags and defaults alone decide."""

    def __init__(self, request: RunRequest):
        self.request = request
        self.warnings: list[str] = []

    def apply(self, settings: Settings) -> Settings:
        """Settings of the run."""
        return settings

    def capacity(self, manifest) -> int:
        """Bytes of DDR for the memory model; warns where the manifest overrules a flag."""
        own = manifest.ddr_capacity_bytes
        regimes = ("auto", "resident", "kv-swap", "weight-stream")
        given = self.request.ddr_capacity
        if own is not None and self.request.ddr_capacity_given and own != given and self.request.memory_model in regimes:
            self.warnings.append(f"--ddr3-capacity {given} is not used: the weight manifest states {own} bytes,"
                                 " which counts")
        return given

    def bandwidth(self, model: str) -> int:
        """Bytes/s of the host link."""
        return self.request.host_bandwidth
