"""Parts and arms that have no oracle, or less of one, under the names that configurations call them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from reasonmech.errors import UnknownNameError
from reasonmech.hybrid.arms import Arm, arms, of_parts
from reasonmech.hybrid.configuration import Seed, hybrid_from_config, seed_of
from reasonmech.hybrid.decoder import Hybrid
from reasonmech.hybrid.executors import Vectors
from reasonmech.hybrid.gates import FormatGate
from reasonmech.hybrid.ingredients import Ingredients
from reasonmech.hybrid.log import code_length
from reasonmech.hybrid.matching import OnsetBias, unembedding_rows
from reasonmech.hybrid.oracle_free import OracleFreeGate, OracleFreeSelector
from reasonmech.hybrid.parts import executors, gates, selectors
from reasonmech.hybrid.power import PowerSampled
from reasonmech.hybrid.rules import BoundaryGate, FirstTokenGate, FixedCategory, Schedule
from reasonmech.hybrid.unsteered import KeptGoing, Prompted, Sharpened
from reasonmech.rollout import OTHER, STOP

RULES: Final[Mapping[str, Mapping[str, object]]] = {  # arms with one category, and their gates
    "first_token": {"kind": "first_token"},
    "every_boundary": {"kind": "boundaries"},
    "coin_boundaries": {"kind": "boundaries", "rate": 0.5},
}
SHARP: Final = 0.25  # temperature of the sharpened base
_RULE: Final = "a fixed rule: full is read beside it"
_VARIANT: Final = "a variant that may recover: full is read beside it"

gates.register("first_token")(FirstTokenGate)


@gates.register("boundaries")
def _boundary_gate(ingredients: Ingredients, *, rate: float = 1.0, seed: Seed = "run") -> BoundaryGate:
    """Open where a sentence begins, with this probability."""
    return BoundaryGate(rate, seed_of(ingredients, seed))


@gates.register("shuffled")
@selectors.register("shuffled")
def _shuffled(ingredients: Ingredients, *, seed: Seed = "run") -> Schedule:
    """As many sentences per problem as `full` steers, and its categories, at others of its boundaries."""
    return ingredients.times_of_full().shuffled(seed_of(ingredients, seed))


@gates.register("other_problem")
@selectors.register("other_problem")
def _other_problem(ingredients: Ingredients) -> Schedule:
    """Times and categories of `full` on the next problem."""
    return ingredients.times_of_full().of_another_problem()


@gates.register("oracle_free")
def _oracle_free_gate(ingredients: Ingredients) -> OracleFreeGate:
    """Open where a probe on the base names another kind than the base would begin."""
    return OracleFreeGate(ingredients.onset_probe())


@selectors.register("oracle_free")
def _oracle_free_selector(ingredients: Ingredients) -> OracleFreeSelector:
    """The kind that the probe names."""
    return OracleFreeSelector(ingredients.onset_probe())


@selectors.register("fixed")
def _fixed(ingredients: Ingredients, *, category: str) -> FixedCategory:
    """One category, by its name."""
    names = ingredients.kinds.names
    if category not in names:
        raise UnknownNameError("category", category, names)
    return FixedCategory(names.index(category))


@executors.register("onset_bias")
def _onset_bias(ingredients: Ingredients) -> OnsetBias:
    """A bias on the first words of the category, as strong as its trained vector on neutral texts."""
    vectors, texts = ingredients.trained_vectors(), ingredients.neutral_texts()
    return OnsetBias.as_strong_as(vectors, ingredients.kinds, texts)[0]


@executors.register("unembedding")
def _unembedding(ingredients: Ingredients) -> Vectors:
    """The unembedding row of the category's first words, as strong as its trained vector on neutral texts."""
    vectors, texts = ingredients.trained_vectors(), ingredients.neutral_texts()
    return unembedding_rows(vectors, ingredients.kinds, texts)[0]


@gates.register("format")
def _format(ingredients: Ingredients) -> FormatGate:
    """Open where the thinking model would state its answer or end, and the base would not go on reasoning."""
    names, answer = ingredients.kinds.names, ingredients.answer_categories()
    ends = tuple(i for i, name in enumerate(names) if name == STOP)
    others = (*answer, *(i for i, name in enumerate(names) if name in (STOP, OTHER)))
    return FormatGate((*answer, *ends), tuple(i for i in range(len(names)) if i not in others))


def _bits_of_lengths(ingredients: Ingredients) -> float:
    """Bits per text that say how long the thinking model's is, under the best code for these lengths."""
    lengths = Counter(ingredients.lengths_of_thinking().values())
    return code_length(lengths.values()) / lengths.total()


def rule(name: str, category: str | None = None) -> Callable[[Ingredients], Hybrid]:
    """One category wherever the gate of this rule opens; None: the one that was chosen on tuning problems."""

    def build(ingredients: Ingredients) -> Hybrid:
        chosen = category or ingredients.kinds.names[ingredients.best_category(name)]
        return hybrid_from_config(
            ingredients, {"gate": RULES[name], "selector": {"kind": "fixed", "category": chosen}}
        )

    return build


_SHUFFLED: Final = {"gate": {"kind": "shuffled"}, "selector": {"kind": "shuffled"}}
_OTHER: Final = {"gate": {"kind": "other_problem"}, "selector": {"kind": "other_problem"}}
_FREE: Final = {"gate": {"kind": "oracle_free"}, "selector": {"kind": "oracle_free"}}

_ARMS: Final = {
    "first_token": Arm(
        rule("first_token"), "", _RULE, "one category, at the first token alone", oracle=False
    ),
    "every_boundary": Arm(
        rule("every_boundary"), "", _RULE, "one category, at every sentence boundary", oracle=False
    ),
    "coin_boundaries": Arm(
        rule("coin_boundaries"), "", _RULE, "one category, at every other boundary by chance", oracle=False
    ),
    "random_boundaries": Arm(
        of_parts(_SHUFFLED),
        "full",
        "",
        "full's categories, as many per problem as it steers, at boundaries drawn among those of its text",
    ),
    "other_problem": Arm(of_parts(_OTHER), "full", "", "full's times and categories on another problem"),
    "takeover_random": Arm(
        of_parts({"gate": {"kind": "shuffled"}, "executor": {"kind": "takeover"}}),
        "takeover",
        "",
        "the thinking model's token at as many boundaries per problem as full steers, drawn among those of "
        "its text",
    ),
    "logit_bias": Arm(
        of_parts({"executor": {"kind": "onset_bias"}}),
        "",
        _VARIANT,
        "full with a bias on the onset word's logit for its vector, at the same KL on neutral text",
    ),
    "unembedding": Arm(
        of_parts({"executor": {"kind": "unembedding"}}),
        "",
        _VARIANT,
        "full with the onset word's unembedding row for its vector, at the same KL on neutral text",
    ),
    "by_kind": Arm(
        of_parts({"gate": {"kind": "kinds"}}),
        "",
        "its nulls are those of full",
        "full where the models would begin sentences of different kinds, summed over their first words",
    ),
    "oracle_free": Arm(
        of_parts(_FREE),
        "",
        "its nulls are those of full",
        "full's vectors where a probe on the base alone, fitted on other problems, names another kind",
        oracle=False,
    ),
    "prompted": Arm(
        lambda ingredients: Prompted(ingredients.pair.base, ingredients.prompt_around()),
        "",
        "no steering: what a prompt alone brings out",
        "the base behind another prompt",
        oracle=False,
    ),
    "step_by_step": Arm(
        lambda ingredients: Prompted(ingredients.pair.base, ingredients.prompt_for_steps()),
        "",
        "no steering: what a prompt alone brings out",
        "the base behind a prompt that asks for steps",
        oracle=False,
    ),
    "format_only": Arm(
        of_parts({"gate": {"kind": "format"}, "executor": {"kind": "takeover"}}),
        "",
        "what format alone brings out: full is read beside it",
        "the thinking model's token where it would state its answer or end, and the base would not go on "
        "reasoning",
        silent=True,
    ),
    "length_matched": Arm(
        lambda ingredients: KeptGoing(
            ingredients.pair.base,
            ingredients.kinds,
            ingredients.lengths_of_thinking(),
            ingredients.answer_categories(),
        ),
        "",
        "no steering: what the length alone brings out",
        "the base, which may not conclude or end before its text is as long as the thinking model's",
        bits=_bits_of_lengths,
    ),
    "power": Arm(
        lambda ingredients: PowerSampled(ingredients.pair.base, ingredients.power),
        "",
        "no steering: sharpened, which draws as sharply token by token, is read beside it",
        "the base sampled from its distribution of whole texts, sharpened",
        oracle=False,
    ),
    "sharpened": Arm(
        lambda ingredients: Sharpened(ingredients.pair.base, SHARP),
        "",
        "no steering: what a lower temperature alone brings out",
        f"the base sampled at temperature {SHARP:g}",
        oracle=False,
    ),
}
for name, arm in _ARMS.items():
    arms.register(name)(arm)
LESS_ORACLE: Final = tuple(_ARMS)
