"""A mask that names tokens by a label that they carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from reasonmech.arguments import check_type
from reasonmech.errors import UnknownNameError
from reasonmech.interventions.masks.where import Where, masks
from reasonmech.shapes import Mask
from reasonmech.step import Step

GIVE_LABELS: Final = (
    'rm.forward(host, rm.runtime.LabelledTexts(texts, labels={"mine": marks}), plan), or '
    'rm.generate(rm.runtime.HostDecoder.of(host, plan, labellers={"mine": labeller}), problems)'
)


@masks.register("labelled")
@final
@dataclass(frozen=True, repr=False)
class Labelled(Where):
    """Tokens that carry a label: that of the text in `forward`, of a causal labeller in `generate`."""

    name: str
    kind = "labelled"

    def __post_init__(self) -> None:
        check_type(
            self.name,
            str,
            name="name of labelled()",
            allowed="the name of a label",
            do='rm.labelled("mine"); ' + GIVE_LABELS,
        )

    def mask(self, step: Step) -> Mask:
        if self.name not in step.labels:
            raise UnknownNameError(
                "label",
                self.name,
                sorted(step.labels),
                do=GIVE_LABELS,
            )
        return step.labels[self.name]

    def labels(self) -> frozenset[str]:
        return frozenset({self.name})


def labelled(name: str) -> Where:
    """Tokens that carry a label of this name."""
    return Labelled(name)
