"""What one feature is: its facts on rows, texts and weights, for a page or a table."""
