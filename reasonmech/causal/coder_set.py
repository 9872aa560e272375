"""CoderSet: the sparse coders of one model's sites, one each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, final

from reasonmech.arguments import as_sequence
from reasonmech.coders.coder import SparseCoder
from reasonmech.door import checked
from reasonmech.errors import DataError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions.axes import Features
from reasonmech.site import Site

CODERS: Final = "a sparse coder, such as rm.load_coder(path), or several: one per site"


@checked
@final
@dataclass(frozen=True, eq=False)
class CoderSet:
    """Sparse coders that read one model, one per site.

    Attributes:
        coders: in the order of tables. One coder is a set of one.
        transfer: they may come from another model than the one they read (a base's in its thinking sibling).

    Raises:
        ArgumentError: something that is no coder. DataError: no coder, or two of one site.
    """

    coders: Sequence[SparseCoder]
    transfer: bool = False

    def __post_init__(self) -> None:
        coders = tuple(as_sequence(self.coders, SparseCoder, name="coders", allowed=CODERS))
        object.__setattr__(self, "coders", coders)
        if not coders:
            raise DataError("no coder to attribute to", do="give at least one")
        if twice := [site for site in self.sites if self.sites.count(site) > 1]:
            raise DataError(
                f"two coders of {twice[0]}: a feature number would mean two things",
                do="give one coder per site",
            )

    @property
    def sites(self) -> list[Site]:
        return [coder.site for coder in self.coders]

    def __iter__(self) -> Iterator[SparseCoder]:
        return iter(self.coders)

    def __len__(self) -> int:
        return len(self.coders)

    def at(self, site: Site | str) -> SparseCoder:
        """The coder of a site. Raises UnknownNameError, listing the sites."""
        parsed = Site.parse(site)
        if parsed not in self.sites:
            raise UnknownNameError("attributed site", str(parsed), [str(one) for one in self.sites])
        return self.coders[self.sites.index(parsed)]

    def check(self, host: Host) -> None:
        """Raise MismatchError or UnknownNameError unless every coder fits the host."""
        for coder in self.coders:
            # any feature will do: width and model are the coder's
            Features(coder, (0,), transfer=self.transfer).check(host)

    def __repr__(self) -> str:
        return f"CoderSet({', '.join(map(str, self.sites))}{', transfer' if self.transfer else ''})"
