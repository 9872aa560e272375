"""Steer a real chat model towards Spanish, beside a random one of the same length.

make smollm2 && python examples/steer_a_direction.py     # half a minute on one core
"""

import torch

import reasonmech as rm

host = rm.load_host("smollm2-135m", dtype=torch.float32)
english = ["The train leaves at nine.", "She lives in a small house.", "The book is on the table."]
spanish = ["El tren sale a las nueve.", "Ella vive en una casa pequeña.", "El libro está sobre la mesa."]
site = "resid_post.12"
to_spanish = rm.direction(host, rm.features.ContrastivePrompts(spanish, english), site=site)
random = rm.Direction.along(torch.randn(host.d_model, generator=torch.Generator().manual_seed(0)), site)

chat = host.with_prompt(rm.hosts.Prompt(chat=True))
questions = ["How do I learn to swim?", "Is a tomato a fruit or a vegetable?"]
norm = float(rm.capture(chat, questions, [site], progress=False).at(site).norm(dim=-1).median())
decode = rm.Decode(max_new_tokens=32)
plans = {"untouched": []}
for name, axis in (("Spanish", to_spanish), ("random", random)):
    plans[name] = [rm.steer(axis, 0.4 * norm, where=rm.prompt(start=-1) | rm.generated())]
for name, plan in plans.items():
    for rollout in rm.generate(chat, questions, plan, decode=decode, progress=False):
        print(f"{name:>9}: {rollout.text!r}")
