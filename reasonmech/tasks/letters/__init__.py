"""The letters world: the chain world's structure in plain English, for pretrained models.

    Q: a is 4. b is a plus 3. c is b minus 2. What is c?
    A: Now b is 4 + 3 =[ 7]. Check: 4 + 3 = 7[, I had 7.] Wait, b is 4 + 3 = 7. So the answer is 5.

Brackets mark what the environment writes: a *slip* (a wrong digit in a step, with probability 0.15) and the
*read-back* of the standing value after a check. All values are within 0 to 9. Sentences are the chain
world's (`ChainSentence`): letter b is item 0, c is item 1; the chain's behaviours label both worlds.
"""

from reasonmech.tasks.letters.environment import LettersEnvironment
from reasonmech.tasks.letters.grammar import FORMS, WORLD, WORLDS, evaluate, solution
from reasonmech.tasks.letters.parser import read
from reasonmech.tasks.letters.task import Letters, draw, make_problem

__all__ = [
    "FORMS",
    "WORLD",
    "WORLDS",
    "Letters",
    "LettersEnvironment",
    "draw",
    "evaluate",
    "make_problem",
    "read",
    "solution",
]
