"""Two processes of four devices each, over loopback, get what one process of eight gets."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
LIMIT = 150  # seconds for all processes together


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(count):
    """What process 0 of `count` prints. None outlives the call, whatever fails."""
    port = free_port()
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.process_worker", *map(str, (port, count, number))],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    end = time.monotonic() + LIMIT
    try:
        outputs = [w.communicate(timeout=max(1.0, end - time.monotonic())) for w in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    for worker, (_, errors) in zip(workers, outputs, strict=True):
        assert worker.returncode == 0, errors[-2000:]
    return json.loads(outputs[0][0].splitlines()[-1])


@pytest.mark.slow
def test_two_processes_train_as_one_does():
    alone, together = run(1), run(2)
    for name, values in alone.items():
        np.testing.assert_allclose(together[name], values, rtol=1e-5)
    assert alone["losses"][-1] < alone["losses"][0]
    assert alone["head"][1] < alone["head"][0]
