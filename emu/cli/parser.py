"""The argument parser of both executables."""

import argparse

from ..errors import brief


class Parser(argparse.ArgumentParser):
    """Usage errors are one line (spec §5.5), and a flag is never guessed from its beginning."""

    def __init__(self, **options):
        super().__init__(**({"allow_abbrev": False} | options))

    def error(self, message):
        """End the process with status 2 and `message` on one line."""
        line = " ".join(message.split())
        self.exit(2, f"{self.prog}: error: {brief(line)} (see --help)\n")
