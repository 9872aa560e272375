"""Two continuations beside each other, where they part inside a character too."""

from __future__ import annotations

import pytest

from reasonmech.report.sidebyside import _two_tone
from tests.layouts import LAYOUTS, layout_host


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_text_that_parts_anywhere_is_shown_whole(name: str) -> None:
    host = layout_host(name)
    ids = host.encode("w1 w2" if name == "words" else "naïve 你好 🙂. So")
    for shared in range(len(ids) + 1):
        text = _two_tone(host, ids, shared, "red")
        assert text.plain == host.decode(ids)
        assert (
            host.decode(ids[:shared])
            .rstrip("�")
            .startswith(text.plain[: text.spans[0].start if text.spans else None])
        )
