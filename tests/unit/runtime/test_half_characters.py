"""Half of a surrogate pair, as JSON leaves it that was cut inside an emoji, is no text for any model."""

from __future__ import annotations

import pytest

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.testing import tiny_host


@pytest.mark.parametrize(
    "read",
    [
        lambda host, text: rm.generate(host, text, decode=rm.Decode(max_new_tokens=2), progress=False),
        lambda host, text: host.encode(text),
        lambda host, text: rm.forward(host, [text]),
    ],
)
def test_a_lone_surrogate_is_refused_where_it_stands(read) -> None:
    with pytest.raises(DataError, match=r"lone surrogate\) at 3: 'w1 \\ud83d b'"):
        read(tiny_host(), "w1 \ud83d b")
