"""What workers ask of TF_CONFIG, and how one notices that another is lost.

Whole runs on two workers are in tests/experiments/worker_programs_test.py.
"""

import json
import socket
import threading
import time

import pytest

from deltavae_tf.training import workers
from tests import testing


def test_watch_tells_a_lost_peer_from_one_that_has_not_come_yet(monkeypatch):
    monkeypatch.setattr(workers, "_PERIOD", 0.01)
    port, never = testing.free_ports(2)
    lost, done = [], threading.Event()
    peers = [f"localhost:{port}", f"localhost:{never}"]
    watcher = threading.Thread(target=workers.watch, args=(peers, done, lost.append))
    watcher.start()
    time.sleep(0.1)
    assert watcher.is_alive() and not lost  # Neither has been there.
    with socket.create_server(("localhost", port)) as server:
        server.accept()[0].close()
        server.accept()[0].close()
        assert watcher.is_alive() and not lost
    watcher.join(timeout=30)
    assert len(lost) == 1 and lost[0].startswith(peers[0])


def test_watch_ends(monkeypatch):
    monkeypatch.setattr(workers, "_PERIOD", 0.01)
    done = threading.Event()
    done.set()
    workers.watch(["localhost:1"], done, None)


GOOD = {
    "cluster": {"worker": ["a:1", "b:1"]},
    "task": {"type": "worker", "index": 1},
}


def test_tf_config():
    workers.check_tf_config(json.dumps(GOOD))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        json.dumps({**GOOD, "task": {"type": "worker", "index": 2}}),
        json.dumps({**GOOD, "task": {"type": "worker", "index": -1}}),
        json.dumps({**GOOD, "task": {"type": "ps", "index": 0}}),
        json.dumps({**GOOD, "task": {"type": "worker", "index": "one"}}),
        json.dumps({**GOOD, "task": None}),
        json.dumps({**GOOD, "cluster": {"worker": []}}),
        json.dumps({**GOOD, "cluster": {"worker": "a:1"}}),
        json.dumps({**GOOD, "cluster": {"worker": ["a:1", "a:1"]}}),
        json.dumps({**GOOD, "cluster": {"worker": ["a:1", "b:1"], "ps": ["c:1"]}}),
        json.dumps({"task": GOOD["task"]}),
    ],
)
def test_bad_tf_config(text):
    with pytest.raises(ValueError, match=r"^TF_CONFIG must list workers") as caught:
        workers.check_tf_config(text)
    assert "\n" not in str(caught.value)
