"""Categories that nobody named: learnt from the thinking model's stream, or drawn at random.

In the published hybrid (arXiv 2510.07364) the category of a moment is the strongest latent of a sentence SAE
at the thinking model's token. Here that is one partition of its stream among others, so that what the SAE
adds over k-means, and over a partition that knows nothing, can be seen.
"""

from reasonmech.hybrid.partition.config import PartitionConfig
from reasonmech.hybrid.partition.encoders import partitions
from reasonmech.hybrid.partition.partition import OfPartition, Partition, fit_partition
from reasonmech.hybrid.partition.texts import PartedTexts

__all__ = ["OfPartition", "PartedTexts", "Partition", "PartitionConfig", "fit_partition", "partitions"]
