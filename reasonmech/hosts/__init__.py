"""Models under study: an untouched Hugging Face model with named sites, and pairs of them."""

from reasonmech.digest import ModelIdentity
from reasonmech.hosts.architecture import Architecture, architectures
from reasonmech.hosts.catalogue import (
    PairConfig,
    load_pair,
    pair_config,
    pair_names,
    register_pair_path,
)
from reasonmech.hosts.difference import Difference
from reasonmech.hosts.hookpoint import HookPoint, read_hidden, replace_hidden
from reasonmech.hosts.host import Host
from reasonmech.hosts.load import load_host
from reasonmech.hosts.on_demand import OrganismStore, is_here, organism_stores
from reasonmech.hosts.pair import ModelPair
from reasonmech.hosts.prompt import Prompt, Shot
from reasonmech.hosts.words import onset_tokens, run_after, token_forms
from reasonmech.site import Site

__all__ = [
    "Architecture",
    "architectures",
    "Difference",
    "Shot",
    "Host",
    "HookPoint",
    "is_here",
    "load_host",
    "load_pair",
    "ModelIdentity",
    "ModelPair",
    "onset_tokens",
    "organism_stores",
    "OrganismStore",
    "pair_config",
    "pair_names",
    "PairConfig",
    "Prompt",
    "read_hidden",
    "register_pair_path",
    "replace_hidden",
    "run_after",
    "Site",
    "token_forms",
]
