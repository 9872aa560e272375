"""load_coder: a directory or a SAELens release becomes a SparseCoder, checked against its model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Protocol, runtime_checkable

from reasonmech.arguments import check_path, check_type, describe
from reasonmech.coders.coder import SparseCoder, Trained
from reasonmech.coders.directory import read_directory
from reasonmech.coders.recipe import CONFIG_FILE, ROWS, SENTENCES, WEIGHT_FILE
from reasonmech.coders.release import read_release
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.coders.sparsify import WEIGHT_FILE as SPARSIFY_FILE
from reasonmech.coders.sparsify import read_sparsify
from reasonmech.coders.stream_record import CENTRED
from reasonmech.digest import check_model, identity_of, weights_alone
from reasonmech.door import checked
from reasonmech.errors import (
    ArgumentError,
    CorruptFileError,
    MismatchError,
    PickleRefusedError,
    UnknownNameError,
)
from reasonmech.files import check_safetensors
from reasonmech.json_text import read_object
from reasonmech.paths import ORGANISM_PREFIX, organism_dir, resolve


@checked
def load_coder(
    source: str | Path, *, host: Trained | None = None, trained_on: str | None = None
) -> SparseCoder:
    """Load a sparse coder, and check that it belongs to a model.

    With a host, a coder that records the weight hash of its model is held to it, and one that records only a
    name (all public ones do) is held to that: its last part must be part of the host's name.

    Args:
        source: a directory in SAELens' or sparsify's layout, "organism:NAME/coder", or "release/id" of
            SAELens' list of public SAEs (downloaded).
        host: the model that it will be used on; the coder moves to its device.
        trained_on: the model's name as the coder records it, where the host's is another name of the same
            weights (a local copy): you vouch for it. Where the coder records none, any name.

    Raises:
        UnknownNameError: neither a directory nor a release; near names are listed.
        CorruptFileError: a file is missing, truncated or damaged. PickleRefusedError: its weights are
            pickled.
        NonFiniteError: NaN or infinity in its weights.
        MismatchError: its width, or the model or stream that it records, is not the host's; or it is no
            autoencoder of a residual-stream site.
        OutputError: it cannot be downloaded.
    """
    check_path(
        source,
        name="source",
        allowed='a directory, "organism:NAME/coder", or "release/id" of SAELens',
        do="rm.load_coder(source, host=host)",
    )
    if trained_on is not None:
        check_type(trained_on, str, name="trained_on", allowed="the name of a model, such as Qwen/Qwen3-0.6B")
    _check_organism(str(source))
    local = resolve(source)
    if local is not None:
        coder = _read_local(local, name=str(source).removeprefix(ORGANISM_PREFIX))
    else:
        release, _, sae_id = str(source).partition("/")
        if isinstance(source, Path) or not release or release.startswith((".", "~")) or not sae_id:
            raise UnknownNameError("coder", str(source), ["an existing directory", "release/id of SAELens"])
        coder = read_release(release, sae_id)
    if host is None:
        return coder
    check_trained(host)
    check_belongs(coder, host)
    model = coder.model_identity()
    if model is not None and model.beyond_weights() is None:
        warnings.warn(weights_alone(f"coder {coder.name!r}"), stacklevel=2)
    if coder.model_hash is None:
        check_name(coder, host, trained_on=trained_on)
    return coder if coder.device == host.device else coder.to(host.device)


def _check_organism(source: str) -> None:
    """Raise UnknownNameError where a part of an organism is meant that is no coder: most ship none."""
    name = source.removeprefix(ORGANISM_PREFIX)
    home = organism_dir()
    coders = sorted(file.parent.relative_to(home).as_posix() for file in home.glob(f"*/*/{CONFIG_FILE}"))
    if name != source and name not in coders:
        pair = name.split("/")[0] if (home / name.split("/")[0]).is_dir() else "PAIR"
        raise UnknownNameError(
            "coder of an organism",
            source,
            [ORGANISM_PREFIX + coder for coder in coders] or ["a directory that train_coder(...).save wrote"],
            do=f"train one: reasonmech train-coder {pair} topk --site resid_post.2 --out DIR, then "
            'rm.load_coder("DIR")',
        )


def _read_local(path: Path, *, name: str) -> SAELensCoder:
    check_directory(path)
    if (path / SPARSIFY_FILE).is_file():
        return read_sparsify(path, name=name)
    coder = SAELensCoder(read_directory(path), name=name)
    if coder.record.get(ROWS) == SENTENCES:
        raise MismatchError(
            f"{path} holds a taxonomy of sentences, which reads no token of the stream",
            do="use load_taxonomy",
        )
    return coder


def check_trained(host: object) -> None:
    """Raise ArgumentError where something is no model that a coder could belong to."""
    if isinstance(host, type) or not isinstance(host, Trained):
        raise ArgumentError(
            f"host is {describe(host)}",
            allowed="a Host, such as rm.load_pair(...).base",
            do="rm.load_host(...) makes one of a model, a directory or a Hub name",
        )


def check_belongs(coder: SparseCoder, host: Trained) -> None:
    """Check width and, where the coder records it, the weight hash of the model it was trained on.

    An SAE on another model's activations runs without complaint and gives plausible numbers that mean
    nothing.

    Raises:
        MismatchError: it belongs to another model. UnknownNameError: the host has no such site.
    """
    if coder.d_in != host.width(coder.site):
        raise MismatchError(
            f"coder {coder.name!r} reads width {coder.d_in},"
            f" {coder.site} of {host.name!r} has width {host.width(coder.site)}",
            do="use a coder that was trained on this model",
        )
    if isinstance(coder, SAELensCoder):
        check_stream(coder, host)
    check_model(
        f"coder {coder.name!r} was trained on a model with weights",
        identity_of(coder, coder.model_hash),
        identity_of(host, host.weight_hash),
        model=f"host {host.name!r}",
        do="load that model, or train a coder on this one",
    )


@runtime_checkable
class _Normalised(Protocol):
    """A model that knows what its norms do (a Host does)."""

    @property
    def subtracts_mean(self) -> bool: ...


def check_stream(coder: SAELensCoder, host: Trained) -> None:
    """Raise MismatchError where a coder reads a stream without its mean, and the model does not."""
    if coder.stream.centred and isinstance(host, _Normalised) and not host.subtracts_mean:
        raise MismatchError(
            f"coder {coder.name!r} was trained on a stream whose mean had been taken out ({CENTRED}); "
            f"{host.name!r} has norms that do not take it out (RMSNorm), so that is another stream",
            allowed="models with LayerNorm, such as GPT-2 and Pythia",
            do=f"if TransformerLens skipped {CENTRED}, as it does on such models, say so: set it to false in "
            "the coder's cfg.json, and run check_fit",
        )


def check_name(coder: SAELensCoder, host: Trained, *, trained_on: str | None) -> None:
    """Hold a coder that knows its model by name to a host: "google/gemma-2-2b" is "gemma-2-2b" is
    "/models/gemma-2-2b".

    Raises:
        MismatchError: it names another model, or none, and nobody vouches for it.
    """
    named = coder.model_name
    if coder.stream.checkpoint is not None and trained_on is None:
        raise MismatchError(
            f"coder {coder.name!r} was trained on another checkpoint of {named!r}: {coder.stream.checkpoint}",
            allowed="the very weights it was trained on",
            do=f"load that checkpoint; if the host is it, pass trained_on={named or host.name!r} and run "
            "check_fit",
        )
    if trained_on is not None and trained_on == (named or trained_on):
        return
    if trained_on is None and named and _last_part(named) in _parts(host.name):
        return
    raise MismatchError(
        f"coder {coder.name!r} was trained on {named!r}, the host is {host.name!r}"
        if named
        else f"coder {coder.name!r} does not say which model it was trained on",
        allowed="the very weights it was trained on: on others an SAE gives plausible numbers that mean "
        "nothing",
        do=f"load that model; or, if the host is that model, pass trained_on={named or host.name!r} and run "
        "check_fit",
    )


def _parts(name: str) -> list[str]:
    """The parts of a path or a Hub name; the Hub's cache writes "/" as "--"."""
    return name.casefold().replace("--", "/").replace("\\", "/").split("/")


def _last_part(name: str) -> str:
    return [part for part in _parts(name) if part][-1]


def check_directory(path: Path) -> None:
    """Check the files of a saved coder. Raises CorruptFileError or PickleRefusedError."""
    pickles = ("*.pt", "*.pth", "*.bin", "*.pkl")
    config = path / CONFIG_FILE
    weights = path / SPARSIFY_FILE if (path / SPARSIFY_FILE).is_file() else path / WEIGHT_FILE
    if not weights.is_file():
        pickled = sorted({p.name for pattern in pickles for p in path.glob(pattern)})
        if path.is_file() and any(path.match(pattern) for pattern in pickles):
            pickled = [path.name]
        if pickled:
            raise PickleRefusedError(
                f"{path} holds a pickled coder ({', '.join(pickled)}); loading a pickle executes code",
                allowed=f"{CONFIG_FILE} and {WEIGHT_FILE}, or {SPARSIFY_FILE}",
                do="rm.coders.convert_coder reads its tensors once, and nothing else",
            )
        if pieces := sorted(p.name for p in path.glob("*-of-*.safetensors")):
            raise CorruptFileError(
                f"the weights in {path} are in several files: {', '.join(pieces[:4])}",
                allowed=f"all tensors in {WEIGHT_FILE}",
                do="put them into one file: read each with safetensors.torch.load_file, and write all with "
                "save_file",
            )
    for file in (config, weights):
        if not file.is_file():
            raise CorruptFileError(f"{path} lacks {file.name}", allowed=f"{CONFIG_FILE} and {WEIGHT_FILE}")
    read_object(config)
    check_safetensors(weights)
