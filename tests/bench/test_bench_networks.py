# SPDX-License-Identifier: BSD-3-Clause
"""The layer lists of real networks in bench/shapes can be read, and are right."""

import importlib.util
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
pytestmark = pytest.mark.skipif(not BENCH.is_dir(), reason="bench/ is not part of this checkout")


@pytest.fixture(scope="module")
def networks():
    spec = importlib.util.spec_from_file_location("networks", BENCH / "networks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_network_is_there_with_distinct_layers(networks):
    nets = networks.all_nets()
    assert set(nets) == {
        "alexnet", "cifar_quick", "lenet5", "mlp", "mobilenet_v1", "resnet18", "resnet20", "vgg16",
        "vgg_style",
    }  # fmt: skip
    names = [w.name for works in nets.values() for w in works]
    assert len(names) == len(set(names))
    assert all(w.group == net for net, works in nets.items() for w in works)


def test_layers_follow_the_papers(networks):
    works = {
        w.name.split(":")[0]: w
        for works in networks.all_nets().values()
        for w in works
        if "backward" not in w.name and "weights" not in w.name
    }
    assert works["alexnet conv1"].flops == 2 * 8 * 55 * 55 * 96 * 11 * 11 * 3
    assert works["resnet20 down2"].flops == 2 * 128 * 16 * 16 * 32 * 9 * 16
    assert works["resnet18 conv1"].flops == 2 * 4 * 112 * 112 * 64 * 49 * 3
    assert works["vgg16 fc6"].flops == 2 * 2 * 25088 * 4096
    assert works["lenet5 conv2"].flops == 2 * 64 * 10 * 10 * 32 * 25 * 16
    assert works["mobilenet_v1 dw2"].args["groups"] == 16
    assert works["mobilenet_v1 dw2"].flops == 2 * 32 * 16 * 16 * 16 * 9
    assert works["cifar_quick act1"].args["size"] == 128 * 32 * 32 * 32


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c1 conv size=8", "line 1: 'c1 conv size=8'"),
        ("# comment\n\nc1 dance size=8", "line 3: .*'dance'"),
        ("batch many", "line 1: 'batch many'"),
        ("c1 linear features=a out=3", "line 1"),
        ("lonely", "line 1: 'lonely'"),
    ],
)
def test_a_bad_line_is_named(networks, tmp_path, text, message):
    path = tmp_path / "net.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"net.txt, {message}"):
        networks.read(path)
