from .api import manifest as manifest
from .api import plan as plan
from .api import profile as profile
from .api import run as run
from .assembler import assemble as assemble
from .errors import EmuError as EmuError
from .request import RunRequest as RunRequest
from .result import RunResult as RunResult
from .sweeping.api import search as search
from .sweeping.api import sweep as sweep

__version__: str
__all__ = ["EmuError", "RunRequest", "RunResult", "__version__", "assemble", "manifest", "plan", "profile", "run",
           "search", "sweep"]
