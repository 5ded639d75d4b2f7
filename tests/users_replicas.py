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
from tests import users_right, users_wrong  # noqa: E402


def main(path):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {}
    for table in (users_right.LOSSES, users_right.OPTIMIZERS):
        for name in table:
            for place in users_right.places(name, strategy):
                key = f"{name}, {place.mode}"
                try:
                    results[key] = users_right.run(table, name, place)
                except errors.UserError as error:
                    results[key] = f"refused: {error}"
                except Exception:
                    results[key] = traceback.format_exc()
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(results, file)
    for name, (arguments, _) in users_wrong.COMPILE_ON_REPLICAS.items():
        arguments = {k: v() if callable(v) else v for k, v in arguments.items()}
        with strategy.scope():
            model = users_wrong.vae()
        try:
            model.compile(**{"optimizer": "sgd", **arguments})
        except errors.UserError as error:
            results[f"compile {name}, eager"] = f"refused: {error}"
        else:
            results[f"compile {name}, eager"] = "accepted"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(results, file)


if __name__ == "__main__":
    main(sys.argv[1])
