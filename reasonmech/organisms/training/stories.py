"""Plain stories, in which the words that begin sentences of a solution are ordinary words."""

from __future__ import annotations

import random
from typing import Final

_NAMES: Final = ("mia", "tom", "ana", "leo")
_THINGS: Final = ("kite", "boat", "dog", "cat")


def draw_story(rng: random.Random) -> str:
    """Three to seven sentences."""
    forms = (
        lambda: (
            f"{rng.choice(_NAMES)} took the {rng.choice(('red', 'blue', 'old', 'small'))} {_thing(rng)} ."
        ),
        lambda: f"wait for me , said {rng.choice(_NAMES)} .",
        lambda: f"so {rng.choice(_NAMES)} went home .",
        lambda: (
            f"they saw a {_thing(rng)} by the {rng.choice(('park', 'sea', 'tree'))} and then the sun came ."
        ),
        lambda: f"hmm , said {rng.choice(_NAMES)} , maybe the {_thing(rng)} was off .",
        lambda: "next the rain came .",
        lambda: f"check on the {_thing(rng)} , said {rng.choice(_NAMES)} .",
        lambda: f"the plan was to get the {_thing(rng)} .",
    )
    return " ".join(rng.choice(forms)() for _ in range(rng.randrange(3, 8)))


def draw_beginning(rng: random.Random) -> str:
    """A first sentence whose first word begins no sentence of a solution."""
    name, thing = rng.choice(_NAMES), _thing(rng)
    return f"{name} took the old {thing} ."


def _thing(rng: random.Random) -> str:
    return rng.choice(_THINGS)
