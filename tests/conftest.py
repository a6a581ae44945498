"""What all tests share: two markers, and a summary that says what could not be tried here."""
import shutil
from collections import Counter

import pytest

from tinyvision import gpu_available
from tinyvision.cuda import compiler


def pytest_configure(config):
    config.addinivalue_line("markers", "gpu: needs a CUDA device; skipped without one")
    config.addinivalue_line("markers", "slow: takes more than a few seconds")


def pytest_collection_modifyitems(items):
    if gpu_available():
        return
    skip = pytest.mark.skip(reason="no GPU: CuPy or a CUDA device is missing")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skip)


@pytest.fixture
def nvcc():
    """The path of CUDA's compiler."""
    path = shutil.which("nvcc")
    return path or pytest.skip("no nvcc: CUDA text was not compiled by it")


def _reason(report):
    """Why a test was skipped, without pytest's prefix."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


def pytest_terminal_summary(terminalreporter):
    """Say plainly what could not be tried here: a skipped test is not a passed one."""
    skipped = Counter(_reason(r) for r in terminalreporter.stats.get("skipped", []))
    if compiler() is None:
        skipped["no C++ compiler: CUDA text was not run on the host"] += 0
    if skipped:
        terminalreporter.section("could not be tried here")
    for reason, count in skipped.most_common():
        tests = f"{count} test{'s' * (count != 1)}: " if count else ""
        terminalreporter.write_line(tests + reason)
