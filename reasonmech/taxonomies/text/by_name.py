"""Categories by words as behaviours with a name, wherever one is taken: `words:venhoff/backtracking`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import final

from reasonmech.behaviours import behaviours
from reasonmech.behaviours.base import OnsetWords, boundaries_where, no_job, spans_where
from reasonmech.door import checked
from reasonmech.errors import ConfigError
from reasonmech.labels import Opportunity, Span
from reasonmech.registry import split_name
from reasonmech.rollout import Sentence, Trace
from reasonmech.taxonomies.text.cut import TextSentence
from reasonmech.taxonomies.text.taxonomy import Taxonomy, find_taxonomy

WORDS = "words"


@checked
@final
@dataclass(frozen=True)
class CategoryByWords:
    """The sentences that say the words of a category, in any trace: what `by_words` marks, as a behaviour.

    Lexical: a sentence can say the words without doing it, and the reverse. Opportunity: every sentence
    boundary that the text went past.

    Raises:
        UnknownNameError: the taxonomy has no such category.
    """

    taxonomy: Taxonomy
    category: str
    functional = False

    def __post_init__(self) -> None:
        self.taxonomy.check(self.category)

    @property
    def name(self) -> str:
        return f"{WORDS}:{self.taxonomy.name}/{self.category}"

    def spans(self, trace: Trace) -> list[Span]:
        return spans_where(trace, lambda s: self._is_one(trace, s))

    def lexical_spans(self, trace: Trace, onset_words: OnsetWords) -> list[Span]:
        """The same: the category is its words."""
        return self.spans(trace)

    def opportunities(self, trace: Trace) -> list[Opportunity]:
        return boundaries_where(trace, lambda previous: True, lambda s: self._is_one(trace, s))

    def verify(self, trace: Trace, span: Span) -> bool:
        """Raises DataError: words have no job."""
        raise no_job(self.name)

    def _is_one(self, trace: Trace, sentence: Sentence) -> bool:
        text = sentence.text if isinstance(sentence, TextSentence) else trace.text_of(sentence)
        return self.category in self.taxonomy.words_say(text)


@behaviours.family(WORDS, form="words:TAXONOMY/CATEGORY")
@lru_cache(maxsize=256)
def category_by_words(name: str) -> CategoryByWords:
    """The behaviour of a name such as "words:venhoff/backtracking"."""
    taxonomy, slash, category = split_name(name)[1].partition("/")
    if not (taxonomy and slash and category):
        raise ConfigError(
            f"behaviour {name!r} names no category",
            allowed="words:TAXONOMY/CATEGORY",
            do="words:venhoff/backtracking",
        )
    return CategoryByWords(find_taxonomy(taxonomy), category)
