"""Hyper-parameters: typed data under the name of a table's row.

    sets.hparams("cifar10_ablation", "latent_channels=64,alpha_max=0.99")

This package knows every set: to import it registers them.
"""

from experiments.sets import images, text  # noqa: F401 (They register sets.)
from experiments.sets.listing import describe as describe
from experiments.sets.registry import hparams as hparams
from experiments.sets.registry import register as register
from experiments.sets.registry import set_names as set_names
from experiments.sets.run_hparams import Hparams as Hparams
from experiments.sets.run_hparams import from_dict as from_dict
from experiments.sets.run_hparams import make as make
