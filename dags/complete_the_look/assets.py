"""What the DAGs make and wait for, as Airflow's assets: lineage and schedules.

The names are of the system, not of a place: where each lies follows from the root of
the run, which an event's `extra` names.
"""

from __future__ import annotations

from airflow.sdk import Asset

CATALOG = Asset(
    name="catalogue",
    uri="x-complete-the-look://catalogue",
    group="complete-the-look",
)
"""Scenes, products and pairs. Whoever brings a new one tells Airflow."""

DATASET = Asset(
    name="dataset",
    uri="x-complete-the-look://dataset",
    group="complete-the-look",
)
"""Triplets, judged fit for training."""

CHAMPION = Asset(
    name="champion",
    uri="x-complete-the-look://champion",
    group="complete-the-look",
)
"""The model in force; an event is a promotion."""

RANKINGS = Asset(
    name="rankings",
    uri="x-complete-the-look://rankings",
    group="complete-the-look",
)
"""The published tables."""
