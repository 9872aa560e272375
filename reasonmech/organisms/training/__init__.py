"""How an organism's models are trained: corpora, pretraining, tuning, reinforcement learning, checkpoints."""
