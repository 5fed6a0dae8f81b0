"""Images, as far as their files tell; hadolint is run by `make check-infra`."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest
from dockerfiles import FOLDER, PROJECT, locked_versions, read_stages, unhashed
from setup_file import extras

FILES = sorted(FOLDER.glob("*.Dockerfile"))
LOCKS = sorted(FOLDER.glob("*.txt"))
LOCK = locked_versions(PROJECT / "requirements.lock")

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
every_lock = pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)


def test_there_are_the_three_images() -> None:
    assert [path.stem for path in FILES] == ["airflow", "beam-worker", "trainer"]


@every_file
def test_images_begin_with_a_full_version(path: Path) -> None:
    for stage in read_stages(path):
        name, _, tag = stage.image.rpartition(":")
        assert name, stage.image
        assert re.match(r"\d+\.\d+\.\d+", tag), stage.image


@every_file
def test_image_is_built_in_stages_and_runs_as_nobody_special(path: Path) -> None:
    *earlier, last = read_stages(path)
    assert earlier
    assert last.of("USER") == ["50000:50000"]
    words = [word for word, _ in last.instructions]
    after = set(words[words.index("USER") :])
    assert after <= {"USER", "WORKDIR", "ENTRYPOINT", "CMD"}


@every_file
def test_copied_paths_exist_and_are_not_ignored(path: Path) -> None:
    kept = [
        line.removeprefix("!")
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for stage in read_stages(path):
        for copied in stage.of("COPY"):
            if copied.startswith("--from="):
                assert copied.split()[0].removeprefix("--from=") in {
                    earlier.name for earlier in read_stages(path)
                }
                continue
            for source in copied.split()[:-1]:
                assert any(
                    fnmatch.fnmatch(source, one) or one.startswith(f"{source}/")
                    for one in kept
                ), source
                if source != "infra/settings":  # of the deployment
                    assert (PROJECT / source).exists(), source


@every_file
def test_nothing_secret_is_an_argument_or_in_the_environment(path: Path) -> None:
    pattern = re.compile(r"password|secret|token|credential|api_?key", re.IGNORECASE)
    for stage in read_stages(path):
        for word in ("ARG", "ENV"):
            assert not any(pattern.search(rest) for rest in stage.of(word))


@every_file
def test_packages_come_from_a_lock_with_hashes(path: Path) -> None:
    for stage in read_stages(path):
        for command in stage.of("RUN"):
            for part in re.split(r"&&", command):
                if "pip install" in part or "pip sync" in part:
                    assert "--require-hashes" in part or "--no-deps" in part, part
                assert "apt-get" not in part
                assert "curl" not in part


@every_file
def test_python_is_of_the_version_that_the_locks_are_for(path: Path) -> None:
    for stage in read_stages(path):
        if stage.image.startswith("python:"):
            assert stage.image.startswith("python:3.12.")


def test_beam_of_the_image_is_that_of_the_lock() -> None:
    (image,) = (
        stage.image
        for stage in read_stages(FOLDER / "beam-worker.Dockerfile")
        if "beam" in stage.image
    )
    (version,) = LOCK["apache-beam"]
    assert image == f"apache/beam_python3.12_sdk:{version}"


@every_lock
def test_lock_of_an_image_has_hashes(path: Path) -> None:
    assert unhashed(path) == []


@every_lock
def test_lock_of_an_image_has_the_projects_versions(path: Path) -> None:
    found = locked_versions(path)
    assert {
        name: versions
        for name, versions in found.items()
        if not versions <= LOCK.get(name, versions)
    } == {}
    assert len(set(found) & set(LOCK)) > 100


def test_airflows_environment_has_what_the_dags_need() -> None:
    listed = (FOLDER / "airflow.in").read_text().splitlines()
    assert set(extras()["airflow"]) <= set(listed)
    # A job's process has an environment of its own.
    assert "tensorflow" not in locked_versions(FOLDER / "airflow.txt")


def test_trainer_brings_cuda_and_the_others_do_not() -> None:
    has_cuda = {
        path.stem: any("cudnn" in name for name in locked_versions(path))
        for path in LOCKS
    }
    assert has_cuda == {"airflow": False, "jobs": False, "trainer": True}
