"""What is wrong with an option is told without waiting for TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tfrecords_schema import storage
from tfrecords_schema.layout import Root

PROJECT = Path(__file__).parents[2]
WITHOUT_QUERIES = {"model": {"squared": False}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two models, a picture, and a TensorFlow that cannot be had."""
    made = tmp_path_factory.mktemp("at-once")
    root = Root.of(str(made / "root"))
    common = {"backbone": "b1-square1", "categories": ["Hats"]}
    storage.write_manifest(root.model("r1"), common | {"config": {}})
    storage.write_manifest(root.model("r2"), common | {"config": WITHOUT_QUERIES})
    Image.new("RGB", (32, 32)).save(made / "photo.jpg")
    for name in ("tensorflow", "keras"):
        (made / f"{name}.py").write_text("raise ImportError('it takes seconds')")
    return made


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("export_serving --root=root --model=r9", "--model r9: root/models/r9"),
        ("export_serving --root=root --model=r2", "is no inner product"),
        ("export_serving --root=root --model=", "--model '' is no run id; they are"),
        ("export_serving --root=root --model=../x", "--model '../x' is no run id"),
        (
            "predict --root=root --model=r1 --picture=photo.jpg --category=Hats "
            "--out=root",
            "--out root is a folder",
        ),
        ("export_serving --root=root --run_date=2026", "--run_date '2026'"),
        (
            "predict --root=root --model=r1 --picture=photo.jpg --category=Shoes "
            "--out=page.html",
            "--category 'Shoes' is none that model r1 knows",
        ),
    ],
)
def test_wrong_option_is_told_at_once(folder: Path, command: str, told: str) -> None:
    module, *options = command.split()
    done = subprocess.run(
        [sys.executable, "-m", f"trainer.{module}", *options],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(PROJECT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert told in done.stderr
