"""What trains: the engine of the Keras backend in use, behind one interface.

`loop.run` and the programs know no other. On TensorFlow it is `tensorflow_engine`: a
`tf.distribute` strategy and tf.data. On JAX it is `jax_engine`: one device that holds
the whole training split. An engine has

  is_chief                     whether this process is the one that writes
  prepare()                    asks for the same numbers on every run
  scope()                      context in which variables are made
  check_agreement(value, demand), any_asked(asked), restarting()
                               of many workers: see `workers`; alone: nothing to do
  trainer(state, batches, settings)
                               callable (count, first): takes `count` steps of which
                               the first has number `first` + 1, and returns the
                               number of the first that was not finite, or 0
  first_batch(batches)         a batch, to start weights from
  over_replicas                for `evaluation.likelihood.Evaluator`
  on_one_replica(function)     a callable that gives `function()` where the weights are
  summaries(folder)            context of TensorBoard's events, if it writes them
  scalars(row), image(name, picture, step)
                               into these events
"""

from deltavae_tf import backend


def make(use_tpu=False, tpu_name="", tpu_cores=None, num_gpus=1):
    """The engine for this machine and command line; Args as `strategy.make`.

    Raises:
      ValueError: the devices asked for are not there, or the engine cannot use them.
    """
    if backend.name == "jax":
        from deltavae_tf.training import jax_engine

        return jax_engine.make(use_tpu, num_gpus)
    from deltavae_tf.training import strategy, tensorflow_engine

    return tensorflow_engine.Engine(
        strategy.make(use_tpu, tpu_name, tpu_cores, num_gpus)
    )
