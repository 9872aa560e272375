"""Writing text: the one decoding loop, how a token is chosen, a host or a pair of them as what is decoded."""
