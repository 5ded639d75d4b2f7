"""What a run needs to know beside its hyper-parameters."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Where a run is, where its data are, how it goes about its work.

    Attributes:
      output_dir: str, the run folder.
      seed: int, of weights, data order and noise.
      data_dir, tmp_dir, download: see `data.dataset.Dataset.load`.
      use_test_set: bool, evaluate on the test split, not on held-out training.
      engine: see `deltavae_tf.training.engines`; None for the backend's, one device.
      iterations_per_loop: int, steps in one call of the device.
      log_every: int, steps from one row of metrics to the next.
      save_seconds: int, see `loop.Settings`.
      keep_max: int, newest checkpoints to keep.
      jit_compile: bool, compile the step with XLA.
      progress: bool, show a progress bar.
      write_samples: bool, with each evaluation; compiling takes seconds.
      flags_text: str, for flags.txt.
      warm_start_from: a checkpoint or a run folder, or None.
    """

    output_dir: str
    seed: int = 0
    data_dir: str | None = None
    tmp_dir: str | None = None
    download: bool = False
    use_test_set: bool = False
    engine: Any = None
    iterations_per_loop: int = 100
    log_every: int = 100
    save_seconds: int = 0
    keep_max: int = 20
    jit_compile: bool = False
    progress: bool = True
    write_samples: bool = True
    flags_text: str = ""
    warm_start_from: str | None = None
