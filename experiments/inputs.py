"""`batches`: the module whose batches the engine of the Keras backend in use takes.

`data.batches` on TensorFlow, `data.resident` on JAX: the same functions, and the same
examples at the same step.
"""

from deltavae_tf import backend

if backend.name == "jax":
    from data import resident as batches
else:
    from data import batches

__all__ = ["batches"]
