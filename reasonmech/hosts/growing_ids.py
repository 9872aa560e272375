"""GrowingIds: sentences of a text that is being written, from the ids of its tokens."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import final

from reasonmech.hosts.sentences import GrowingText
from reasonmech.hosts.spelling import Spelling


@final
class GrowingIds:
    """A `GrowingText` whose tokens are ids; what each writes is read from its bytes.

    Attributes:
        text: the sentences so far.
    """

    def __init__(self, spelling: Spelling) -> None:
        self._spelling, self.text, self._partial = spelling, GrowingText(), b""

    def copy(self) -> GrowingIds:
        """The same text so far, to be written on by itself."""
        twin = GrowingIds(self._spelling)
        twin.text, twin._partial = self.text.copy(), self._partial
        return twin

    def append(self, ids: Sequence[int], at: int) -> int | None:
        """Write token `at` of a text of these ids; where the sentence begins that it begins, or None."""
        return self.write(self._spelling.part(ids, at, at + 1)[0].text)

    def write(self, piece: bytes) -> int | None:
        """Write the bytes of one token."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        written = decoder.decode(self._partial + piece)
        self._partial = decoder.getstate()[0]
        return self.text.append(written, partial=bool(self._partial))
