"""Host: one language model under study, kept exactly as Hugging Face loaded it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reasonmech.arguments import check_type
from reasonmech.digest import ModelIdentity, hash_text
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, BindError
from reasonmech.hosts.architecture import architecture_of
from reasonmech.hosts.ends import end_ids
from reasonmech.hosts.hookpoint import HookPoint
from reasonmech.hosts.identity import LiveIdentity
from reasonmech.hosts.mapping import check_mapping
from reasonmech.hosts.prompt import PLAIN, Prompt
from reasonmech.hosts.settings import Softcap, length_note_of, n_positions_of, sampling_of
from reasonmech.hosts.sitemap import SiteMap
from reasonmech.hosts.text_reader import TextReader
from reasonmech.hosts.vocabulary import check_rows
from reasonmech.mode import check_precision, no_inference_mode
from reasonmech.ranges import Count
from reasonmech.site import Site

if TYPE_CHECKING:
    from reasonmech.hosts.lens import TransformerBridge


@final
class Host(TextReader):
    """A model, its tokenizer and the map from sites to modules.

    The model is never wrapped, subclassed or cast. Hooks that the library adds are removed when its call
    returns, so between calls `host.model` is bit-exactly the model that was given. Read it and run it freely.
    What a host says is read when asked for: a change in hand is followed, and is another `model_identity`.

    Attributes:
        name: how results name it.
        model: the untouched Hugging Face model, in eval mode.
        tokenizer: encodes prompts and decodes what was generated.
        prompt: how problems are put to it: as the task has them, unless `with_prompt` was asked.
        n_heads, d_head: heads of a block, and width of each; None where the architecture names no projection.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        prompt: Prompt = PLAIN,
    ) -> None:
        """Use `load_host`, which also checks the files and the tokenizer.

        Raises:
            MismatchError: the architecture is unknown, or the model is not as it is mapped; the tokenizer has
                ordinary words without a row (an added token without one is refused in the text that has it),
                or no chat template, or a lossy one, where the prompt is a chat.
        """
        prompt.check(tokenizer)
        self.prompt = prompt
        self._architecture = architecture_of(model.config.model_type)
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self._sites = SiteMap(model, self._architecture, d_model=self.d_model, name=name)
        self.n_heads, self.d_head = self._sites.n_heads, self._sites.d_head
        self._identity = LiveIdentity(model, tokenizer)
        self._softcap = Softcap(model, lambda: self.layers[-1], self._uncapped)
        check_rows(tokenizer, self.vocab_size, name=name)
        check_mapping(model, self._sites, self.logits_of)

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__:
            raise ArgumentError(f"{name} of a host was set", do="rm.load_host(model, tokenizer=tokenizer)")
        super().__setattr__(name, value)

    def with_prompt(self, prompt: Prompt) -> Host:
        """The same model, behind another prompt. Raises MismatchError, DataError where it cannot read it."""
        check_type(prompt, Prompt, name="prompt", allowed="rm.hosts.Prompt(template=..., chat=...)")
        return Host(self.model, self.tokenizer, name=self.name, prompt=prompt)

    @property
    def vocab_size(self) -> int:
        """Rows of the unembedding (may exceed the tokenizer's vocabulary)."""
        return len(self.unembedding())

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.unembedding().shape[1]

    @property
    def n_layers(self) -> int:
        """How many blocks it has."""
        return len(self.layers)

    @property
    def layers(self) -> list[nn.Module]:
        """The model's blocks, in order."""
        return self._sites.layers

    @property
    def n_positions(self) -> int:
        """Tokens of the longest text that the model's configuration allows."""
        return n_positions_of(self.model)

    @property
    def length_note(self) -> str:
        """Why a rope that reaches further is not followed; mostly empty."""
        return length_note_of(self.model)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Tokens that end a text, the tokenizer's first, then those of the generation config."""
        return end_ids(self.model, self.tokenizer, rows=self.vocab_size)

    @property
    def pad_id(self) -> int:
        """Token used to fill up a batch; always masked, so any id is right."""
        special: Any = self.tokenizer  # transformers types a special token as anything a config may hold
        padding: int | None = special.pad_token_id  # often a token that was added without a row for it
        return next(iter(self.eos_ids), 0) if padding is None or padding >= self.vocab_size else padding

    @property
    def device(self) -> torch.device:
        """Where token ids go (with a device_map: the device of the embedding)."""
        return self.model.get_input_embeddings().get_parameter("weight").device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def sampling(self) -> dict[str, Any]:
        """What the model's generation config says of drawing tokens: temperature, top_p, repetition_penalty
        and their like. Nothing of it is applied unless asked for: `decode.as_published(host)`."""
        return sampling_of(self.model)

    @property
    def weight_hash(self) -> str:
        """SHA-256 over name, dtype, shape and bytes of every tensor of the state dict, as they stand."""
        return self._identity.weight_hash

    @property
    def vocabulary_hash(self) -> str:
        """SHA-256 over every token and its id: texts encoded under another one mean something else."""
        return self._identity.vocabulary_hash

    def model_identity(self) -> ModelIdentity:
        """What decides this model's numbers, as it stands: weights, configuration, tokenizer, ends of text.

        Under "configuration" goes all that it does not make (`Deviations`): hooks, replaced modules, settings
        and buffers set by hand. Coders, stores, sweeps and runs are refused on another one than they record.
        Not noticed: a class whose methods are replaced, what a hook reads from elsewhere.
        """
        return self._identity.read(self.eos_ids)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the whole `model_identity`, and of the prompt where it is not the task's own."""
        model, prompt = self.model_identity().fingerprint, self.prompt.identity(self.tokenizer)
        return hash_text(f"{model}\0{prompt}") if prompt else model

    @cached_property
    def lens(self) -> TransformerBridge:
        """A TransformerBridge over the same parameters, on a twin: `host.model` stays untouched.

        Raw weights, nothing folded or centred, eager attention. Built when first asked for.
        """
        from reasonmech.hosts.lens import build_lens

        return build_lens(self.model, self.tokenizer, name=self.name)

    def lens_hook(self, site: Site | str) -> str | None:
        """Name of the hook of `lens` at which a site's tensor passes; None where the bridge shows it nowhere.

        On architectures with a norm after each half of a block that is the norm's hook, not `attn.hook_out`.
        The bridge keeps `z` as [batch, pos, head, d_head], and a head alone has the hook of all of them.
        `resid_mid` can be read there, and written only as `as_hooks` does it: through what attention adds.
        """
        from reasonmech.hosts.lens import hook_of_site

        return hook_of_site(self.lens, self.check_site(site), self._architecture)

    @checked
    def lens_entry(self, layer: Count) -> str | None:
        """Name of the hook of `lens` at which what entered a block passes, after any edit of it."""
        from reasonmech.hosts.lens import hook_of_part

        layer, entry = self.check_site(Site("resid_post", layer)).layer, self._architecture.entry
        return None if entry is None else hook_of_part(self.lens, layer, entry, side="hook_in")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of site that this model has, in the order in which a block computes them."""
        return self._sites.kinds

    def check_site(self, site: Site | str) -> Site:
        """Parse a site and check that this host has it.

        Raises:
            UnknownNameError: it has not; the valid range is listed.
        """
        return self._sites.check(site)

    def width(self, site: Site | str) -> int:
        """Numbers per token at a site: d_model, n_heads * d_head of `z.L`, d_head of `z.L.H`. Raises
        UnknownNameError."""
        return self._sites.width(self.check_site(site))

    def columns(self, site: Site | str) -> slice:
        """Columns of the tensor at `site.whole` that are the site: one head's, or all. Raises
        UnknownNameError."""
        return self._sites.columns(self.check_site(site))

    def hook_point(self, site: Site | str) -> HookPoint:
        """The module side at which a site's tensor [batch, pos, width] passes.

        Raises:
            UnknownNameError: the host has no such site.
            BindError: the model was compiled; its compiled passes ignore hooks without a word.
        """
        modules = self.model.named_modules()
        compiled = [name for name, module in modules if module._compiled_call_impl is not None]
        if compiled:
            raise BindError(
                f"{compiled[0] or type(self.model).__name__} of host {self.name!r} is compiled",
                allowed="a model that is not: torch.compile ignores every hook that is added afterwards",
                do="load the model again and give it as it is",
            )
        return self._sites.point(self.check_site(site))

    @property
    def norm(self) -> nn.Module:
        """The norm between the last block and the unembedding."""
        return self.model.get_submodule(self._architecture.norm)

    @property
    def subtracts_mean(self) -> bool:
        """Whether whatever reads the stream takes its mean out first: LayerNorm does, RMSNorm does not."""
        return isinstance(self.norm, nn.LayerNorm)

    def unembedding(self) -> Float[Tensor, "vocab d_model"]:
        """The unembedding matrix, one row per token (the parameter itself, not a copy)."""
        return self._head.get_parameter("weight")

    @property
    def _head(self) -> nn.Module:
        head = self.model.get_output_embeddings()
        assert head is not None, "a causal language model has a head"
        return head

    def logits_of(self, resid: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes vocab"]:
        """Logits that the model's own head gives a residual stream: softcap(unembed(norm(resid))).

        Of the last `resid_post` the model's, of an earlier one the logit lens. BindError in torch.autocast.
        """
        check_precision(self.name)
        with no_inference_mode():
            logits, cap = self._uncapped(resid), self._softcap.value()
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def _uncapped(self, resid: Float[Tensor, "*axes d_model"]) -> Float[Tensor, "*axes vocab"]:
        scale, rows = self.norm.get_parameter("weight"), self.unembedding()
        return self._head(self.norm(resid.to(device=scale.device, dtype=scale.dtype)).to(rows.device))

    def __repr__(self) -> str:
        sampler = f", not applied: {self.sampling}" if self.sampling else ""
        size = f"{self.n_layers} layers, d_model {self.d_model}, {self.dtype}, {self.device}"
        behind = "" if self.prompt.is_plain else f", behind {self.prompt!r}"
        return f"Host({self.name!r}, {size}{sampler}{behind})"
