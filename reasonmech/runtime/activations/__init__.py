"""What `capture` leaves behind: pieces of texts, shards with checksums, writing that survives a kill,
reading."""
