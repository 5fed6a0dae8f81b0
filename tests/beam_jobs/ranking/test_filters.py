"""Rules of what lists hold: how they are read, and lists against brute force."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from etils import epath
from ranked_root import (
    PRODUCTS,
    SCENES,
    all_distances,
    in_order,
    in_small_blocks,
    lists,
    make_root,
    random_model,
    run,
    shards,
    write_catalog,
)
from small_root import RUN_DATE, pair_row

from beam_jobs import publish
from beam_jobs.publishing.warehouse import Warehouse
from beam_jobs.ranking.attributes import Offer, read_attributes, why_left_out
from beam_jobs.ranking.filters import Diversity, FilterRules, PriceBand, read_rules
from tfrecords_schema.codes import RankCode
from tfrecords_schema.errors import InputError
from tfrecords_schema.layout import Stage

RULES = """
market: DE
available: true
price: {min: 10, max: 20, currency: EUR}
exclude_known_pairs: true
diversity: {per_list: 1, max_bits: 1}
"""


def write_rules(folder: Path, text: str) -> str:
    path = folder / "rules.yaml"
    path.write_text(text)
    return str(path)


def test_rules_are_read_from_yaml_and_from_json(tmp_path: Path) -> None:
    expected = FilterRules(
        market="DE",
        available=True,
        price=PriceBand("EUR", 10, 20),
        exclude_known_pairs=True,
        diversity=Diversity(1, 1),
    )
    assert read_rules(write_rules(tmp_path, RULES)) == expected
    as_json = {
        "market": "DE",
        "available": True,
        "price": {"min": 10, "max": 20, "currency": "EUR"},
        "exclude_known_pairs": True,
        "diversity": {"per_list": 1, "max_bits": 1},
    }
    assert read_rules(write_rules(tmp_path, json.dumps(as_json))) == expected


@pytest.mark.parametrize("text", ["", "{}"])
def test_rules_of_an_empty_file_leave_nothing_out(tmp_path: Path, text: str) -> None:
    assert read_rules(write_rules(tmp_path, text)) == read_rules(None) == FilterRules()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("markt: DE", "markt; known are available, diversity"),
        ("price: {mn: 1, currency: EUR}", "price has mn"),
        ("price: {min: 1}", "price lacks currency"),
        ("price: {currency: EUR}", "neither min nor max"),
        ("price: {min: 3, max: 2, currency: EUR}", "price.min 3 > price.max 2"),
        ("price: {min: -1, currency: EUR}", "price.min -1"),
        ("price: {max: .nan, currency: EUR}", "price.max nan"),
        ("price: 7", "price is 7"),
        ("available: yes please", "available 'yes please'"),
        ("market: 49", "market 49"),
        ("market: NO", "market False is no text; write it in quotes"),
        ("diversity: {per_list: 0}", "per_list 0"),
        ("diversity: {per_list: 1, max_bits: 11}", "max_bits 11 is no number in 0..10"),
        ("diversity: {per_list: true}", "per_list True"),
        ("- market", "not a mapping"),
        ("market: [", "cannot be read"),
    ],
)
def test_rules_that_are_none_are_errors(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match="--filters") as refused:
        read_rules(write_rules(tmp_path, text))
    assert told in str(refused.value)


OFFERS = [
    {
        "product_id": "p1",
        "available": True,
        "price": 9.5,
        "currency": "EUR",
        "market": "DE",
    },
    {
        "product_id": "p1",
        "available": False,
        "price": 8,
        "currency": "PLN",
        "market": "PL",
    },
    {
        "product_id": "p2",
        "available": "maybe",
        "price": 1,
        "currency": "EUR",
        "market": "DE",
    },
    {
        "product_id": "p3",
        "available": True,
        "price": -1,
        "currency": "EUR",
        "market": "DE",
    },
    {
        "product_id": "p4",
        "available": True,
        "price": 1,
        "currency": "",
        "market": "DE",
    },
    {
        "product_id": "p1",
        "available": True,
        "price": 1,
        "currency": "EUR",
        "market": "DE",
    },
]


def write_offers(path: Path, offers: list[dict[str, Any]]) -> str:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(offer) + "\n" for offer in offers))
    elif path.suffix == ".csv":
        lines = [list(offers[0]), *(list(offer.values()) for offer in offers)]
        path.write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    else:
        pq.write_table(pa.Table.from_pylist(offers), path)
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_attributes_are_read_and_bad_rows_told(tmp_path: Path, suffix: str) -> None:
    found = read_attributes(write_offers(tmp_path / f"offers.{suffix}", OFFERS))
    assert found.offers == {
        "p1": [Offer("DE", True, 9.5, "EUR"), Offer("PL", False, 8.0, "PLN")]
    }
    assert found.rows_in == 6
    first = 2 if suffix == "csv" else 1
    assert [(row.line - first, row.code) for row in found.rejections] == [
        (2, "bad_value"),
        (3, "bad_value"),
        (4, "bad_value"),
        (5, "duplicate_product"),
    ]


def test_attributes_of_a_typed_table_are_read(tmp_path: Path) -> None:
    path = write_offers(tmp_path / "offers.parquet", OFFERS[:1])
    assert read_attributes(path).offers == {"p1": [Offer("DE", True, 9.5, "EUR")]}


def test_attributes_that_are_not_there_are_errors(tmp_path: Path) -> None:
    for name, told in (("no.csv", "does not exist"), ("offers.txt", "none of")):
        with pytest.raises(InputError, match=f"--attributes .*{told}"):
            read_attributes(str(tmp_path / name))
    with pytest.raises(InputError, match=r"no usable row \(1 rows.* line 1: bad_value"):
        read_attributes(write_offers(tmp_path / "bad.jsonl", OFFERS[2:3]))
    empty = tmp_path / "empty.csv"
    empty.write_text("product_id,available,price,currency,market\n")
    with pytest.raises(InputError, match=r"no usable row \(the file is empty"):
        read_attributes(str(empty))


@pytest.mark.parametrize(
    ("offers", "code"),
    [
        ([Offer("DE", True, 10, "EUR")], None),
        ([Offer("DE", True, 20, "EUR")], None),
        ([Offer("DE", True, 20.01, "EUR")], RankCode.PRICE_OUT_OF_BAND),
        ([Offer("DE", True, 15, "PLN")], RankCode.OTHER_CURRENCY),
        ([Offer("DE", False, 15, "EUR")], RankCode.UNAVAILABLE),
        ([Offer("PL", True, 15, "EUR")], RankCode.OTHER_MARKET),
        ([Offer("PL", True, 15, "EUR"), Offer("DE", True, 15, "EUR")], None),
        (
            [Offer("PL", True, 15, "EUR"), Offer("DE", False, 15, "EUR")],
            RankCode.UNAVAILABLE,
        ),
        ([], RankCode.NO_ATTRIBUTES),
        (None, RankCode.NO_ATTRIBUTES),
    ],
)
def test_product_is_left_out_by_the_first_rule_that_no_offer_passes(
    offers: list[Offer] | None, code: RankCode | None
) -> None:
    band = PriceBand("EUR", 10, 20)
    assert why_left_out(offers, FilterRules("DE", True, band)) == code


PHASHES = {"shoe-0": "f0", "shoe-4": "f1", "shoe-5": "f3"} | {
    name: f"{(n + 1) << 20 | (n + 1) << 40 | (n + 1) << 50:x}"
    for n, name in enumerate(PRODUCTS)
    if name not in ("shoe-0", "shoe-4", "shoe-5")
}
"""A chain of three that are nearly the same; others differ in three bits or more."""

KNOWN = {("scene-0", "shoe-1"), ("scene-0", "shoe-4"), ("scene-2", "hat-1")}
SOLD = {name: n % 4 != 3 for n, name in enumerate(PRODUCTS)}


def test_lists_by_all_rules_are_those_of_brute_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model()
    root = make_root(tmp_path / "root", model)
    pairs = [
        # The second of the first scene is known as a co-positive only.
        pair_row("scene-0", "shoe-1", "shoes") | {"co_positive_ids": ["shoe-4"]},
        pair_row("scene-2", "hat-1", "hats"),
    ]
    write_catalog(root, PRODUCTS, phashes=PHASHES, pairs=pairs, without=("shoe-6",))
    offers = [
        {
            "product_id": name,
            "available": is_sold,
            "price": 15,
            "currency": "EUR",
            "market": "DE",
        }
        for name, is_sold in SOLD.items()
    ]
    in_small_blocks(monkeypatch)
    rules = f"--filters={write_rules(tmp_path, RULES)}"
    attributes = f"--attributes={write_offers(tmp_path / 'offers.csv', offers)}"
    run(root, rules, attributes)
    distances = all_distances(model)
    expected = {}
    for scene in SCENES:
        for category in ("shoes", "hats"):
            chosen: list[str] = []
            for product in in_order(distances, scene, category):
                near = {"shoe-0", "shoe-4", "shoe-5"}
                if not SOLD[product] or product == "shoe-6":
                    continue
                if (scene, product) in KNOWN or (
                    product in near and near & set(chosen)
                ):
                    continue
                chosen.append(product)
            expected[scene, category] = chosen[:5]
    assert lists(root) == expected
    codes = {row["id"]: row["code"] for row in shards(root, "rejections")}
    unsold = {name: "unavailable" for name, is_sold in SOLD.items() if not is_sold}
    assert codes == unsold | {"shoe-6": "features_missing"}
    receipt = root.receipt(RUN_DATE, Stage.RANK_CATALOG)
    offered = hashlib.sha256((tmp_path / "offers.csv").read_bytes()).hexdigest()
    assert receipt.decided_by["attributes"] == offered[:12]
    assert receipt.decided_by["exclude_known_pairs"] == "true"
    expected_rules = yaml.safe_load(RULES)
    del expected_rules["exclude_known_pairs"]
    assert json.loads(receipt.decided_by["filters"]) == expected_rules
    folder = root.rankings(receipt.outputs["rankings"])
    with Warehouse.open(epath.Path(tmp_path / "warehouse.duckdb")) as warehouse:
        load = publish.rankings_load(folder)
        checked = warehouse.run_checks(warehouse.stage(load, run_date=RUN_DATE))
    assert [result for result in checked.results if result.failures] == []


def test_rules_need_attributes_and_attributes_need_rules(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root", random_model())
    rules = write_rules(tmp_path, "market: DE")
    with pytest.raises(InputError, match="name their table with --attributes"):
        run(root, f"--filters={rules}")
    offers = write_offers(tmp_path / "offers.csv", OFFERS)
    with pytest.raises(InputError, match=r"offers.csv: no rule of --filters"):
        run(root, f"--attributes={offers}")
