"""What the process is told before its first kernel."""
import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, resource
import numpy as np
from tinyvision import ops

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.empty(5_000_000, np.float32).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

untouched = "GOMP_SPINCOUNT" not in os.environ
ops.relu(np.ones(10_000, np.float32))
faults()                                   # the memory is asked for once
print(untouched, os.environ["GOMP_SPINCOUNT"], faults() < 20)
"""


def run(**settings):
    """What the script prints, in a process with these variables."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GOMP", "MALLOC"))}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env={**environment, **settings},
                          capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_freed_memory_is_kept_from_the_first_kernel_on():
    assert run() == ["True", "600", "True"]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_what_the_user_has_set_stays():
    assert run(GOMP_SPINCOUNT="7", MALLOC_MMAP_THRESHOLD_="100000") == ["False", "7", "False"]
