"""The bridge has one door: kernels are called by thunks alone, and thunks by run()."""

import itertools
import re
from pathlib import Path

import pytest

BRIDGE = Path(__file__).parents[1] / "fastnn" / "_bridge"
THUNK = re.compile(r"cdef int \w+_call\(call \*c\) noexcept nogil:")
KERNEL = re.compile(r"fnn_kernels_for\(|\bfnn_(?:unary_fwd|unary_bwd|binary|gather_strided)\(")
# These compute nothing that a step consists of: a measurement, a copy of foreign memory, a choice,
# weights prepared for replays.
APART = {"run_peak", "from_buffer", "conv_algo", "conv2d_algo", "pack_weights"}


@pytest.mark.parametrize("path", sorted(BRIDGE.glob("*.pxi")), ids=lambda path: path.name)
def test_kernels_are_called_through_run(path):
    if path.name == "declarations.pxi":
        return
    heads = re.compile(r"^(?:@|cdef |def |    def ).*?:$", re.MULTILINE | re.DOTALL)
    text = path.read_text()
    starts = [m.start() for m in heads.finditer(text)] + [len(text)]
    for start, end in itertools.pairwise(starts):
        body = text[start:end]
        name = re.search(r"(\w+)\(", body)
        if name is None or name[1] in APART or THUNK.match(body[body.find("cdef int") :]):
            continue
        found = KERNEL.search(body)
        assert found is None, f"{path.name}: {name[1]} calls {found[0]} itself; use run()"
