"""One of each thing that reasonmech lets others add."""
