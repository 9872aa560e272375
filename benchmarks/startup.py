"""How long a user waits before anything happens: `import reasonmech` and `reasonmech --help`, beside
upstream."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from _table import Target, measure, report


def run(*arguments: str) -> Callable[[], float]:
    """Wall time of one fresh interpreter."""

    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    return once


if __name__ == "__main__":
    report(
        "startup",
        "P9. Start-up",
        measure(
            {
                "python -c pass": run("-c", "pass"),
                "import reasonmech": run("-c", "import reasonmech"),
                "reasonmech --help": run("-m", "reasonmech", "--help"),
                "import transformer_lens": run("-W", "ignore", "-c", "import transformer_lens"),
                "import sae_lens": run("-W", "ignore", "-c", "import sae_lens"),
            }
        ),
        floor="python -c pass",
        targets=[Target("import reasonmech", at_most=1), Target("reasonmech --help", at_most=1)],
    )
