"""Many processes that train together: who they are, and what if one is lost.

TensorFlow's collectives do not survive a lost peer: what was under way fails, or waits
for ever. So every worker watches the others, and one that loses another starts itself
anew, resumes from the last checkpoint like any killed run, and waits until somebody has
started the lost one again.
"""

import contextlib
import functools
import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from deltavae_tf import errors

_PERIOD = 1.0  # Seconds from one look at the others to the next.
_PATIENCE = 3  # Looks in a row that find nobody there.
_LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


def check_tf_config(text: str) -> None:
    """Raises a UserError unless `text` is a TF_CONFIG of workers alone."""
    example = (
        '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        roles, kind, index = set(config["cluster"]), task["type"], int(task["index"])
        good = isinstance(workers, list) and all(isinstance(w, str) for w in workers)
        good = good and roles == {"worker"} and kind == "worker"
        good = good and 0 <= index < len(workers) == len(set(workers))
    except (ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise errors.UserError(
            f"TF_CONFIG must list workers and say which one this is, as in {example}. "
            f"Received: {' '.join(text.split())[:300]}"
        )


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """How many processes train together."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    return len(strategy.cluster_resolver.cluster_spec().as_dict()["worker"])


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes: the only one, or worker 0."""
    return num_workers(strategy) == 1 or strategy.cluster_resolver.task_id == 0


def from_all_workers(
    values: Sequence[float], strategy: tf.distribute.Strategy
) -> np.ndarray:
    """What each worker passed, by all of them: float64 `[replicas, len(values)]`.

    A meeting point: it returns when every worker has called it.
    """
    row = np.asarray(values, np.float64)[None]
    if num_workers(strategy) == 1:
        return row
    return _gather(strategy)(tf.constant(row)).numpy()


def check_workers_agree(
    value: int, strategy: tf.distribute.Strategy, demand: str
) -> None:
    """Raises a UserError that starts with `demand` unless all workers pass one value.

    Args:
      value: int, below 2^53.
      strategy: `tf.distribute.Strategy`.
      demand: str, a sentence without its full stop.
    """
    found = [int(v) for v in from_all_workers([value], strategy)[:, 0]]
    if len(set(found)) > 1:
        raise errors.UserError(f"{demand}. Received: {found}")


@functools.cache
def _gather(strategy):
    # tf.identity gives each replica's value a device, which the gathering needs.
    return tf.function(
        lambda x: strategy.gather(strategy.run(tf.identity, args=(x,)), axis=0),
        autograph=False,
    )


@contextlib.contextmanager
def restarting(
    strategy: tf.distribute.Strategy, restart: Callable[[str], object] | None = None
) -> Iterator[None]:
    """Within it the loss of another worker starts this program anew.

    At its end all workers meet, so that none takes another's end for a loss.

    Args:
      strategy: `tf.distribute.Strategy`; nothing happens with one worker.
      restart: callable of a reason, for tests; None replaces the process.
    """
    if num_workers(strategy) == 1:
        yield
        return
    restart = restart or _restart
    done = threading.Event()
    peers = strategy.cluster_resolver.cluster_spec().as_dict()["worker"]
    peers = [p for i, p in enumerate(peers) if i != strategy.cluster_resolver.task_id]
    watcher = threading.Thread(target=watch, args=(peers, done, restart), daemon=True)
    watcher.start()
    try:
        yield
        from_all_workers([0], strategy)
    except _LOST_WORKER as error:
        restart(" ".join(str(error).split())[:200])
        raise
    finally:
        done.set()
        watcher.join()


def watch(
    peers: Sequence[str], done: threading.Event, lost: Callable[[str], object]
) -> None:
    """Calls `lost(reason)` once a peer that was there is there no more.

    Args:
      peers: list of "host:port", where each accepts connections while it lives.
      done: `threading.Event` that ends the watch.
      lost: callable.
    """
    misses = {}  # Of the peers that have been seen.
    while not done.wait(_PERIOD):
        for peer in peers:
            host, _, port = peer.rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=10).close()
                misses[peer] = 0
            except OSError as error:
                if peer in misses:
                    misses[peer] += 1
                    # A refusal is certain: nobody listens there any more.
                    certain = isinstance(error, ConnectionRefusedError)
                    if certain or misses[peer] >= _PATIENCE:
                        lost(f"{peer}: {error}")
                        return


def _restart(reason):
    logging.warning("Another worker is lost (%s). Starting anew.", reason)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
