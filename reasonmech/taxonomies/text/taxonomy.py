"""Taxonomies of what sentences of reasoning do, with the words that usually say so; their open registry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from reasonmech.arguments import check_type
from reasonmech.behaviours.base import plain
from reasonmech.door import checked
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.registry import Registry

_WHITE: Final = re.compile(r"\s+")
_LEAD: Final = re.compile(r"^[\s\"'“‘«(\[*_…]+")
_MARKER: Final = re.compile(r"^(?:[>#*_+-]+\s*|\d{1,3}[.)]\s+)+")


@checked
@dataclass(frozen=True)
class Category:
    """One category of a taxonomy.

    Attributes:
        meaning: what the source says that it is; what a judge is told.
        patterns: regular expressions, ignoring case, any of which marks a sentence. Words and nothing else: a
            sentence can say them without doing it, and do it without saying them.
    """

    name: str
    meaning: str
    patterns: tuple[str, ...]

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """All patterns as one.

        Raises:
            DataError: a pattern is no regular expression, or there is none.
        """
        if not self.patterns:
            raise DataError(
                f"category {self.name!r} has no pattern", do="give it one, or do not label it by words"
            )
        try:
            return re.compile("|".join(f"(?:{pattern})" for pattern in self.patterns), re.IGNORECASE)
        except re.error as error:
            raise DataError(
                f"a pattern of category {self.name!r} is no regular expression: {error}"
            ) from error


@checked
@dataclass(frozen=True)
class Taxonomy:
    """Categories of one publication. A sentence may belong to several, or to none.

    Attributes:
        source: the publication.
    """

    name: str
    source: str
    categories: tuple[Category, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(category.name for category in self.categories)

    @checked
    def check(self, category: str) -> str:
        """The name itself. Raises UnknownNameError, listing the categories."""
        if category not in self.names:
            raise UnknownNameError(f"category of taxonomy {self.name!r}", category, self.names)
        return category

    @checked
    def words_say(self, sentence: str) -> frozenset[str]:
        """Categories whose words stand in a sentence. What leads it in (a list marker, a quote, a bracket) is
        left out, ’ counts as ', and any white space as one blank."""
        words = _WHITE.sub(" ", plain(sentence).strip())
        words = _LEAD.sub("", _MARKER.sub("", words, count=1), count=1)
        return frozenset(category.name for category in self.categories if category.regex.search(words))


taxonomies: Registry[Taxonomy] = Registry("taxonomy")


def find_taxonomy(taxonomy: str | Taxonomy) -> Taxonomy:
    """A registered taxonomy by its name, or the taxonomy itself.

    Raises:
        UnknownNameError: nothing of this name is registered. ArgumentError: neither a name nor a taxonomy.
    """
    if isinstance(taxonomy, str):
        return taxonomies.get(taxonomy)
    return check_type(
        taxonomy, Taxonomy, name="taxonomy", allowed=f"one of {', '.join(taxonomies)}, or a Taxonomy"
    )
