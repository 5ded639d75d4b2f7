"""Hyper-parameters: typed data under the name of a table's row.

    hparams("cifar10_ablation", overrides="latent_channels=64,alpha_max=0.99")

This module knows every set: to import it registers them.
"""

from experiments.image_sets import ImageHparams as ImageHparams
from experiments.registry import Hparams as Hparams
from experiments.registry import describe as describe
from experiments.registry import hparams as hparams
from experiments.registry import names as names
from experiments.registry import parse as parse
from experiments.text_sets import TextHparams as TextHparams
