"""The loops that run models: forward passes, generation, capture, receipts."""
