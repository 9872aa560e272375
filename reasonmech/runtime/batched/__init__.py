"""Many interventions in one pass: cells of a grid, packed together behind a prefix they share."""
