"""Models under study: an untouched Hugging Face model with named sites, and pairs of them."""

from reasonmech.hosts.architecture import Architecture, architectures
from reasonmech.hosts.hookpoint import HookPoint, read_hidden, replace_hidden
from reasonmech.hosts.host import Host

__all__ = ["Architecture", "Host", "HookPoint", "architectures", "read_hidden", "replace_hidden"]
