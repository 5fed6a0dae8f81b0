"""Parameters that several DAGs share, with the environment's values as defaults."""

from __future__ import annotations

from airflow.sdk import Param

from complete_the_look.environment import MAX_TOP_K, PLACE, Settings

DATE = r"\d{4}-\d{2}-\d{2}"


def place_params(settings: Settings) -> dict[str, Param]:
    """Where a run reads and writes."""
    catalog = settings.catalog
    return {
        "root": Param(
            settings.root,
            type="string",
            pattern=f"^{PLACE}$",
            description="Storage root, a folder or gs://bucket/prefix",
        ),
        "catalog": Param(
            catalog.uri,
            type="string",
            pattern=f"^{PLACE}$",
            description="Folder with <domain>.json and <domain>-cat.json, or with the "
            "tables scenes, products and pairs (.csv, .parquet or .jsonl)",
        ),
        "domain": Param(
            catalog.domain, enum=["fashion", "home"], description="Which catalogue"
        ),
        "warehouse": Param(
            settings.warehouse,
            type="string",
            pattern=r"^(/.+|bigquery://.+/.+)?$",
            description="Where to publish: bigquery://project/dataset, the path of a "
            "DuckDB file, or empty for the root's warehouse.duckdb",
        ),
    }


def prepare_params(settings: Settings) -> dict[str, Param]:
    """How a catalogue is fetched and made into a data set with features."""
    catalog = settings.catalog
    return {
        "image_host": Param(
            catalog.image_host,
            type="string",
            pattern="^(https?://.*)?$",
            description="Host of the pictures; empty for tables, which give addresses",
        ),
        "allow_hosts": Param(
            catalog.allow_hosts,
            type="string",
            pattern=r"^[\w.:,\[\]-]*$",
            description="Hosts of pictures that may be at private addresses, as host "
            "or host:port with commas between them",
        ),
        "contact": Param(
            catalog.contact,
            type="string",
            pattern=r"^([!-~]*(@|://)[!-~]*)?$",
            description="URL or e-mail address that hosts of pictures are told; they "
            "may ask for one",
        ),
        "retry": Param(
            "retryable",
            type="string",
            enum=["retryable", "failed", "none"],
            description="Pictures to ask for again, besides new ones: those that "
            "failed for a reason that may pass, all that failed, or none",
        ),
        "negative_strategy": Param(
            "uniform",
            type="string",
            enum=["uniform", "popularity", "hard"],
            description="How negatives are drawn: alike, by how often a product is "
            "worn, or by the champion, which must have been promoted before",
        ),
        "validation_baseline": Param(
            "previous",
            type="string",
            pattern=r"^\w[\w.-]*$",
            description="What the data set is compared with: previous, none, or a "
            "data set version",
        ),
        "backbone": Param(
            "ResNet50",
            type="string",
            # A name, or a file by its absolute path.
            pattern=r"^\w+$|^(/|[a-z0-9]+://).+\.keras$",
            description="keras.applications model, or a .keras backbone file",
        ),
    }


def ranking_params(settings: Settings) -> dict[str, Param]:
    """What lists hold."""
    ranking = settings.ranking
    return {
        "top_k": Param(
            ranking.top_k,
            type="integer",
            minimum=1,
            maximum=MAX_TOP_K,
            description="Products of a list",
        ),
        "filters": Param(
            ranking.filters,
            type="string",
            pattern=f"^({PLACE})?$",
            description="File of rules of what lists may hold; empty for none",
        ),
        "attributes": Param(
            ranking.attributes,
            type="string",
            pattern=f"^({PLACE})?$",
            description="Table of products' attributes that the rules look at; empty "
            "for none",
        ),
        "index": Param(
            ranking.index,
            type="boolean",
            description="Whether lists are approximate, by indexes of the products",
        ),
    }
