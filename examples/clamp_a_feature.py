"""Find a feature of the base that anticipates checking, clamp it, and count checks beside a random feature.

python examples/clamp_a_feature.py     # a minute on one core; tiny-when ships with the package
"""

import reasonmech as rm

pair, site = rm.load_pair("tiny-when"), "resid_post.2"
problems = rm.load_task(pair.task, n=100, seed=1, split="train")
decode = rm.Decode(max_new_tokens=224, temperature=1.0, samples=4, batch_size=400)
own = rm.generate(pair.base, problems, decode=decode, progress=False)
thinking = rm.generate(pair.thinking, problems, decode=decode, progress=False)

read = rm.capture(pair.base, [*own, *thinking], [site], progress=False)
config = rm.CoderConfig(architecture="topk", d_sae=512, k=12, steps=300, batch_size=512, lr=3e-3)
coder = rm.train_coder(read, config, host=pair.base, progress=False)
table = rm.locate(rm.capture(pair.base, own, [site], progress=False), rm.label(rm.parse(own), "check"), coder)
located, stats = rm.select(table, 1, coder=coder), rm.feature_stats(coder, read.at(site))
loose = rm.features.Tolerance(rate=1.0, effect=1.0)
(control,) = rm.matched_features(stats, located, n=1, tolerance=loose)

where = rm.generated() & rm.tokens(".")  # where the next sentence is chosen
for name, features in (("untouched", None), ("located", located), ("random", rm.Features(coder, control))):
    plan = []
    if features is not None:
        plan = [rm.clamp(features, 6 * float(stats.mean_active[features.indices[0]]), where=where)]
    written = rm.generate(pair.base, problems, plan, decode=decode, progress=False)
    checks = rm.behaviours.onset_rate(rm.parse(written), "check")
    print(f"{name:>9}: {checks.hits} checks at {checks.n} unverified steps")
