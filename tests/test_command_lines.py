"""What the command lines of all rooms have in common."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tfrecords_schema.layout import Stage

PROJECT = Path(__file__).parents[1]
ROOMS = ("beam_jobs", "examples", "infra", "tests", "tfrecords_schema", "trainer")


def parsers(file: Path) -> list[ast.Call]:
    """Where a file makes a parser of options."""
    return [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "ArgumentParser"
    ]


def called(node: ast.AST) -> str:
    """The last word of what a call calls; empty for anything else."""
    if not isinstance(node, ast.Call):
        return ""
    return ast.unparse(node.func).rpartition(".")[2]


def jobs() -> dict[str, ast.FunctionDef]:
    """The `main` of every module that logs, by the module's file."""
    found = {}
    for room in ("beam_jobs", "infra", "trainer"):
        for file in sorted((PROJECT / room).rglob("*.py")):
            tree = ast.parse(file.read_text())
            if any(called(node) == "configure_logging" for node in ast.walk(tree)):
                (main,) = (
                    node
                    for node in tree.body
                    if isinstance(node, ast.FunctionDef) and node.name == "main"
                )
                found[str(file.relative_to(PROJECT))] = main
    return found


FILES = [
    file
    for room in ROOMS
    for file in sorted((PROJECT / room).rglob("*.py"))
    if parsers(file)
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PROJECT)))
def test_options_cannot_be_abbreviated(file: Path) -> None:
    """Or a misspelt one is taken for another, and a new one changes what is meant."""
    for call in parsers(file):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        value = given.get("allow_abbrev")
        assert isinstance(value, ast.Constant), f"line {call.lineno}"
        assert value.value is False, f"line {call.lineno}"


def test_every_job_begins_by_telling_its_log_what_it_is() -> None:
    """Before options are parsed, so that what is wrong with them is told likewise."""
    stages = {}
    for file, main in jobs().items():
        first = main.body[1]  # after the docstring
        assert isinstance(first, ast.Expr), file
        assert isinstance(first.value, ast.Call), file
        assert called(first.value) == "configure_logging", file
        stage, argv = first.value.args
        assert ast.unparse(argv) == "argv", file
        stages[file] = ast.unparse(stage)
    of_runs = {
        file: Stage[text.removeprefix("Stage.")]
        for file, text in stages.items()
        if text.startswith("Stage.")
    }
    assert set(of_runs.values()) == set(Stage)
    # A module of another name than its stage, and the one that starts the other's.
    others = {"trainer/task.py": Stage.TRAIN, "trainer/launch.py": Stage.TRAIN}
    assert of_runs == others | {
        file: stage
        for file, stage in of_runs.items()
        if stage in (Path(file).stem, Path(file).parent.name)
    }
    others_told = [ast.literal_eval(stages[file]) for file in stages.keys() - of_runs]
    assert sorted(others_told) == [
        *("approve", "compact_features", "compare", "deploy", "export_serving"),
        *("offer_catalog", "predict", "preflight", "reinstate", "what_is_new"),
    ]
