"""What every test leaves as it found it: the number of threads and the CPU target."""

import pytest

import fastnn as fnn
from fastnn import _core


@pytest.fixture(autouse=True)
def _restore():
    threads, target = fnn.get_num_threads(), _core.current_target()
    yield
    fnn.set_num_threads(threads)
    _core.set_target(target)
