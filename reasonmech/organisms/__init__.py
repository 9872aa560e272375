"""Small base/thinking pairs built from scratch, whose truth is known: corpus, training, splicing, measured truth."""
