"""Whether an architecture's paths are what they say: one pass of a few tokens through a model that is new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, final

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from reasonmech.acting import OurHook, acting_on
from reasonmech.errors import MismatchError
from reasonmech.hosts.hookpoint import Handle
from reasonmech.hosts.sitemap import SiteMap
from reasonmech.mode import no_inference_mode
from reasonmech.site import Site

N_TOKENS: Final = 8
_PARTS: Final = ("resid_pre", "attn_out", "mlp_out", "resid_post")
_SUM: Final = "resid_pre + attn_out + mlp_out = resid_post, in every block"
_NAME: Final = (
    "name in its entry of reasonmech.hosts.architectures the modules whose output is added as it is: its "
    "post-norms, if it has any"
)
_NO_MID: Final = "leave entry= out of its entry of reasonmech.hosts.architectures: it has no resid_mid then"
# Two sums, each rounded by half an eps, are off by at most one eps of what is added; twice, for kernels
_ROUNDINGS: Final = 2.0
_LOGIT_ROUNDINGS: Final = 8.0  # of the largest: the same modules on the same stream, maybe in other kernels
_EXPLAINED: Final = 0.02  # of a difference, what factors may leave where they are its account
_ANOTHER: Final = 0.05  # of the MLP's output: more than kernels differ by, less than another stream makes


@final
class _MappedPass:
    """What passes at some sites of a model when it reads two equal rows.

    In row 1 the first block's attention adds what moves the coordinates of the stream behind it on by one:
    an MLP that reads this stream must give something else there.
    """

    def __init__(self, model: PreTrainedModel, sites: SiteMap) -> None:
        self.at = dict[Site, Tensor]()
        self.entered = dict[int, Tensor]()
        self._model, self._sites = model, sites
        self._mid = "resid_mid" in sites.kinds

    def run(self, ids: Tensor) -> Tensor:
        """One pass; gives the logits of row 0."""
        handles: list[Handle] = []
        try:
            for layer in range(len(self._sites.layers)):
                for site in (Site(kind, layer) for kind in _PARTS):
                    handles.append(self._sites.point(site).attach(self._reader(site)))
                entry = self._sites.point(Site("resid_mid", layer)).entry if self._mid else None
                if entry is not None:
                    handles.append(entry.register_forward_pre_hook(OurHook(self._entry_reader(layer))))
            with torch.no_grad():
                return self._model(input_ids=ids, use_cache=False).logits[0]
        finally:
            for handle in handles:
                handle.remove()

    def _reader(self, site: Site) -> Callable[[Tensor], Tensor | None]:
        def read(x: Tensor) -> Tensor | None:
            self.at[site] = x
            if site != Site("attn_out", 0) or not self._mid:
                return None
            entered = self.at[Site("resid_pre", 0)][1]
            return torch.stack([x[0], (entered + x[1]).roll(1, -1) - entered])

        return read

    def _entry_reader(self, layer: int) -> Callable[..., None]:
        def read(_: object, args: tuple[Tensor, ...]) -> None:
            if args:
                self.entered[layer] = args[0]

        return read

    def row(self, kind: str, layer: int, row: int = 0) -> Tensor:
        """One row [token, d_model], float64 on the CPU."""
        return _exact(self.at[Site(kind, layer)][row])


def check_mapping(model: PreTrainedModel, sites: SiteMap, logits_of: Callable[[Tensor], Tensor]) -> None:
    """Check that what a block's halves are said to add is what it adds, that `resid_mid` lies between them
    where it is mapped, and that `logits_of` gives the model's logits of the last stream.

    A model in which hooks of others act, that is compiled or has no numbers yet, is taken as it stands: what
    passes in it is no account of its architecture.

    Raises:
        MismatchError: one of them is not so, with what was measured.
    """
    embedding = model.get_input_embeddings().get_parameter("weight")
    if embedding.is_meta or any(any(acting_on(name, module)) for name, module in _modules(model)):
        return
    n, last = len(embedding), len(sites.layers) - 1
    ids = torch.linspace(n // 8, n // 2, min(N_TOKENS, n), device=embedding.device).long()
    passage = _MappedPass(model, sites)
    with no_inference_mode(), torch.autocast(embedding.device.type, enabled=False), torch.no_grad():
        logits = passage.run(ids.expand(2, -1))
        if not bool(torch.isfinite(logits).all()):  # refused where it is read
            return
        for layer in range(last + 1):
            _check_sum(model, passage, layer)
        if "resid_mid" in sites.kinds:
            _check_mid(model, passage, last)
        _check_logits(model, logits_of(passage.at[Site("resid_post", last)][:1])[0], logits)


def _check_sum(model: PreTrainedModel, passage: _MappedPass, layer: int) -> None:
    parts = [passage.row(kind, layer) for kind in _PARTS]
    pre, attention, mlp, post = parts
    off = (pre + attention + mlp - post).norm(dim=-1)
    eps = torch.finfo(passage.at[Site("resid_post", layer)].dtype).eps
    if bool((off <= _ROUNDINGS * eps * torch.stack([x.norm(dim=-1) for x in parts]).sum(0)).all()):
        return
    update = (post - pre).flatten()
    halves = torch.stack([attention.flatten(), mlp.flatten()], dim=1)
    factors = torch.linalg.lstsq(halves, update[:, None]).solution[:, 0]
    if (halves @ factors - update).norm() <= _EXPLAINED * (halves.sum(1) - update).norm():
        raise _refused(
            model,
            f"block {layer} adds {factors[0]:.4g} times what its attention gives and {factors[1]:.4g} times "
            "what its MLP gives",
            _SUM,
            f"{_NAME}; or multiply the weights that write (o_proj, down_proj) by these factors, and set them "
            "to 1 in its configuration",
        )
    share = float((halves.sum(1) - update).norm() / update.norm())
    raise _refused(
        model,
        f"what the halves of block {layer} give is off from what it adds by {share:.2g} of it",
        _SUM,
        _NAME,
    )


def _check_mid(model: PreTrainedModel, passage: _MappedPass, last: int) -> None:
    between = "resid_mid = resid_pre + attn_out, which the MLP half reads"
    for layer in range(last + 1):
        entered, pre = passage.entered.get(layer), passage.at[Site("resid_pre", layer)]
        if entered is None or entered.shape != pre.shape or not torch.equal(entered[0], pre[0]):
            what = f"the module entry= of block {layer} is not given the stream that enters the block"
            raise _refused(model, what, between, _NO_MID)
    one, other = passage.row("mlp_out", 0), passage.row("mlp_out", 0, row=1)
    if bool(one.any()) and (one - other).norm() <= _ANOTHER * one.norm():
        what = "its MLP half does not read what its attention half adds: the two are parallel"
        raise _refused(model, what, between, _NO_MID)


def _check_logits(model: PreTrainedModel, reading: Tensor, logits: Tensor) -> None:
    eps, ours, theirs = torch.finfo(reading.dtype).eps, _exact(reading), _exact(logits)
    off = ours - theirs
    if bool(off.abs().max() <= _LOGIT_ROUNDINGS * eps * theirs.abs().max()):
        return
    allowed = "head(norm(last resid_post)), with a softcap if the configuration has one"
    factor = float((ours * theirs).sum() / theirs.square().sum())
    if (ours - factor * theirs).norm() <= _EXPLAINED * off.norm():
        raise _refused(
            model,
            f"its head, after the final norm, gives {factor:.4g} times its logits",
            allowed,
            f"multiply the final norm's weight (and bias) by {1 / factor:.4g}, and set the factor to 1 in "
            "its configuration",
        )
    share = float(off.norm() / theirs.norm())
    raise _refused(
        model,
        f"its head, after the final norm, is off from its logits by {share:.2g} of them",
        allowed,
        "name in its entry of reasonmech.hosts.architectures the norm between the last block and the head",
    )


def _refused(model: PreTrainedModel, happened: str, allowed: str, do: str) -> MismatchError:
    kind = model.config.model_type
    return MismatchError(f"the map of {kind!r} to sites does not hold: {happened}", allowed=allowed, do=do)


def _modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return model.named_modules()


def _exact(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.float64)
