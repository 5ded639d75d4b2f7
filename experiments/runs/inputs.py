"""`batches`: the module whose batches the engine of the Keras backend in use takes.

`data.images.batches` on TensorFlow, `data.images.resident` on JAX: the same functions,
and the same examples at the same step.
"""

from deltavae_tf import backend

if backend.name == "jax":
    from data.images import resident as batches
else:
    from data.images import batches

__all__ = ["batches"]
