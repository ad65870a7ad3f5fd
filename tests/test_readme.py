"""README and guides are true: their Python runs, their commands and links exist."""

import re
import runpy
import shlex
import subprocess
import sys

import pytest
from packaging_tools import ROOT

import fastnn as fnn
from fastnn import cli

GUIDES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]
NEED_FILES = {"docs/datasets.md"}  # their Python reads data sets that not everybody has
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(guide, *languages):
    text = (ROOT / guide).read_text(encoding="utf-8")
    return [body for language, body in FENCE.findall(text) if language in languages]


RUNNABLE = [g for g in GUIDES if g not in NEED_FILES and blocks(g, "python")]


@pytest.mark.parametrize("guide", RUNNABLE)
def test_python_blocks_run(guide, tmp_path, monkeypatch):
    """In order, in one namespace, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    threads, stream = fnn.get_num_threads(), fnn.get_rng_state()
    try:
        script = tmp_path / "guide.py"
        script.write_text("\n".join(blocks(guide, "python")), encoding="utf-8")
        runpy.run_path(str(script))
    finally:
        fnn.set_num_threads(threads)
        fnn.set_rng_state(stream)


def test_readme_example_trains_and_saves(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("README.md", "python")
    assert len(example.strip().splitlines()) <= 24
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    names = runpy.run_path("example.py")
    (x, y) = names["x_test"], names["y_test"]
    assert (names["trainer"].predict(x).argmax(axis=1) == y).mean() > 0.93
    assert (tmp_path / "digits.safetensors").is_file()
    assert "Conv2d" in capsys.readouterr().out


@pytest.mark.parametrize("guide", GUIDES)
def test_commands_exist(guide, tmp_path, monkeypatch):
    """Every `fastnn ...` in a block of shell is understood by the command's parser."""
    monkeypatch.chdir(tmp_path)
    for block in blocks(guide, "sh", "bash", "console"):
        for command in re.split(r"\n|&&", block.replace("\\\n", " ")):
            words = shlex.split(command, comments=True)
            while words and "=" in words[0]:
                words.pop(0)
            if words and words[0].rpartition("/")[2] == "fastnn":
                cli._parser().parse_args(words[1:])


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_somewhere(guide):
    text = (ROOT / guide).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    links += re.findall(r'src="([^"]+)"', text)
    here = [link for link in links if "://" not in link]
    missing = [link for link in here if not ((ROOT / guide).parent / link).exists()]
    assert not missing


def test_readme_links_every_guide():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [g for g in GUIDES if g != "README.md" and f"({g})" not in text] == []


def test_ci_ends_with_the_test_command_of_the_readme():
    *_, command = [b for b in blocks("README.md", "sh") if "pytest" in b]
    last = (ROOT / ".ci" / "run").read_text(encoding="utf-8").strip().splitlines()[-1]
    assert command.split()[-1].rpartition("/")[2] == last.split()[-1] == "pytest"


@pytest.mark.parametrize("example", sorted(p.name for p in (ROOT / "examples").glob("*.py")))
def test_examples_run(example, tmp_path):
    result = subprocess.run(
        [sys.executable, "-P", ROOT / "examples" / example, "--epochs", "1"],
        capture_output=True, text=True, cwd=tmp_path, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "test" in result.stdout
