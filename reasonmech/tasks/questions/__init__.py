"""Questions: tasks on real text, out of files, published data sets and generators; answers are compared."""

from reasonmech.tasks.questions.gym_task import GymTask
from reasonmech.tasks.questions.notation import plain_notation
from reasonmech.tasks.questions.prompt import NEXT_QUESTION, plain_prompt
from reasonmech.tasks.questions.question_task import QuestionTask
from reasonmech.tasks.questions.reading import read_answer
from reasonmech.tasks.questions.text_task import TextTask, check_behaviour

__all__ = [
    "TextTask",
    "check_behaviour",
    "QuestionTask",
    "GymTask",
    "read_answer",
    "plain_notation",
    "plain_prompt",
    "NEXT_QUESTION",
]
