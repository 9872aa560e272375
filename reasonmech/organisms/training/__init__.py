"""How an organism's models are made: corpus, pretraining, tuning, reinforcement learning, rotation."""
