"""Settings of a model that its configuration tells only with some care: positions, softcap, sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from reasonmech.acting import OurHook
from reasonmech.hosts.hookpoint import read_hidden

# of a generation config: what a loop that follows it would do to logits or to the choice of a token
SAMPLER: Final = (
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "top_h",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "min_length",
    "min_new_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "exponential_decay_length_penalty",
    "num_beams",
    "guidance_scale",
    "stop_strings",
)
_NOTHING: Final = (None, False, 0, [], {})  # values that leave logits as they are
_ONE_IS_NOTHING: Final = (
    "temperature",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "num_beams",
    "guidance_scale",
)
# kinds of rope whose configuration keeps the length before it was stretched
_STRETCHED_BY_FACTOR: Final = ("linear", "yarn")
_BY_BATCH: Final = ("dynamic", "longrope")  # those that turn a text otherwise beside a longer one
BY_BATCH: Final = ", beyond which its rope ({kind}) turns all texts of a batch by the length of the longest"


def n_positions_of(model: PreTrainedModel) -> int:
    """Tokens of the longest text that is taken: rope that is stretched by a factor reaches further than
    `max_position_embeddings`, where that is the length before (Qwen2.5 with YaRN: 32768 by 4).

    What Llama 3 configurations say is the length after. A dynamic rope and LongRoPE have other frequencies
    where the longest text of a batch is beyond the length before: they reach that far, for a text's numbers
    must not depend on the one beside it, or on what was read earlier.
    """
    settings: Any = model.config.get_text_config()  # transformers types a config by what all have in common
    longest: int = settings.max_position_embeddings
    for rope in _ropes(model):
        kind, before = rope.get("rope_type"), rope.get("original_max_position_embeddings") or longest
        if kind in _STRETCHED_BY_FACTOR and len(_ropes(model)) == 1:  # Gemma 3, of two kinds, has that after
            longest = max(longest, int(before * float(rope.get("factor") or 1.0)))
        if kind == "longrope":
            longest = min(longest, int(before))
    return longest


def length_note_of(model: PreTrainedModel) -> str:
    """What to say of the longest text besides its tokens: why a rope is not followed further, or nothing."""
    kinds = [str(rope.get("rope_type")) for rope in _ropes(model)]
    return next((BY_BATCH.format(kind=kind) for kind in kinds if kind in _BY_BATCH), "")


def _ropes(model: PreTrainedModel) -> list[Mapping[str, Any]]:
    """Settings of the rope, or of each kind of layer's."""
    settings: Any = model.config.get_text_config()
    rope = settings.to_dict().get("rope_parameters") or {}
    return [rope] if "rope_type" in rope else [one for one in rope.values() if isinstance(one, Mapping)]


@final
class Softcap:
    """The cap c of logits c tanh(x / c), where a model applies one; read when it is asked for.

    A model that sees images holds the text model's configuration, and its class may leave the cap out (Gemma
    3's does): then a few tokens are run to see, once for each cap that is named.
    """

    def __init__(
        self, model: PreTrainedModel, last: Callable[[], nn.Module], head: Callable[[Tensor], Tensor]
    ) -> None:
        """`last` gives the last block, `head` takes its output to logits without a cap."""
        self._model, self._last, self._head = model, last, head
        self._applied: dict[float, bool] = {}

    def value(self) -> float | None:
        text = self._model.config.get_text_config()
        cap: float | None = text.to_dict().get("final_logit_softcapping")
        if cap is None or text is self._model.config:
            return cap
        if cap not in self._applied:
            self._applied[cap] = self._is_applied(cap)
        return cap if self._applied[cap] else None

    def _is_applied(self, cap: float) -> bool:
        seen: list[Tensor] = []
        store = OurHook(lambda module, args, output: seen.append(read_hidden(output)))
        handle = self._last().register_forward_hook(store)
        embedding = self._model.get_input_embeddings().get_parameter("weight")
        ids = torch.arange(min(8, len(embedding)), device=embedding.device)[None]
        try:
            with torch.no_grad():
                logits = self._model(input_ids=ids, use_cache=False).logits.float()
                plain = self._head(seen[0]).float().to(logits.device)
        finally:
            handle.remove()
        capped = cap * torch.tanh(plain / cap)
        return bool((capped - logits).abs().max() <= (plain - logits).abs().max())


def sampling_of(model: PreTrainedModel) -> dict[str, Any]:
    """Settings of the generation config that would change which token is written, if `Decode` followed it."""
    generation: Any = model.generation_config
    values = {} if generation is None else generation.to_dict()
    return {
        name: values[name]
        for name in SAMPLER
        if values.get(name) not in _NOTHING and not (name in _ONE_IS_NOTHING and values[name] == 1)
    }
