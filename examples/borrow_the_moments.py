"""Let the base write, and hand it the thinking model's choice where the two would begin other sentences.

python examples/borrow_the_moments.py     # a quarter of a minute on one core; then try pair = "smol-letters"
"""

import reasonmech as rm
from reasonmech.hybrid import DisagreementGate, OfThinking, VectorConfig, train_vectors

pair = rm.load_pair("tiny-when")
kinds = rm.tasks.tasks.get(pair.task).kinds(pair.thinking.tokenizer)
decode = rm.Decode(max_new_tokens=224, batch_size=128)
written = rm.generate(pair.thinking, rm.load_task(pair.task, n=32, seed=1, split="train"), decode=decode)
few = VectorConfig(steps=80)
trained = train_vectors(pair.base, f"resid_post.{pair.steering_layer}", written, kinds=kinds, config=few)
hybrid = rm.Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=trained.vectors)

problems = rm.load_task(pair.task, n=40, seed=0, split="test")
for name, writer in (("base", pair.base), ("thinking", pair.thinking), ("base, borrowed moments", hybrid)):
    rollouts = rm.generate(writer, problems, decode=decode, progress=False)
    print(f"{name:>23}: {rm.stats.mean_interval(rm.grade(rollouts), bounds=rm.stats.SHARE)}")
print("A recovery is no verdict: reasonmech judge tiny-when")
