"""Join all results into RESULTS.md."""

from __future__ import annotations

import json

from _table import RESULTS, markdown

results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
machine = results[0]["machine"]
text = "\n".join([f"# Benchmarks\n\nOn {machine}; medians and quartiles, shuffled order.\n", *map(markdown, results)])
(RESULTS.parent / "RESULTS.md").write_text(text)
print(RESULTS.parent / "RESULTS.md")
