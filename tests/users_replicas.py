"""Runs the right models' tables on two replicas; writes what came out as JSON.

  python -m tests.users_replicas FILE
"""

import json
import sys
import traceback

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

from deltavae_tf import errors  # noqa: E402
from tests import users_right  # noqa: E402

# Graphs of two replicas take long to make; what `fit` and its kin do with data is the
# same for all of them.
GRAPHS = ("7 examples by 4", "9 examples by 4", "SGD", "global_clipnorm",
          "a generator of uneven batches", "train_on_batch on 7",
          "LossScaleOptimizer", "a mask half of zeros")  # fmt: skip


def main(path):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {}
    for table in (users_right.LOSSES, users_right.OPTIMIZERS):
        for name in table:
            modes = ("eager", "graph") if name in GRAPHS else ("eager",)
            for mode in modes:
                place = users_right.Place(mode, strategy)
                key = f"{name}, {mode}"
                try:
                    results[key] = users_right.run(table, name, place)
                except errors.UserError as error:
                    results[key] = f"refused: {error}"
                except Exception:
                    results[key] = traceback.format_exc()
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(results, file)


if __name__ == "__main__":
    main(sys.argv[1])
