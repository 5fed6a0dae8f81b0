"""Where everything lies under the root, and the receipts by which stages find it.

    {root}/images/segments/…              fetched pictures and their status
    {root}/datasets/<version>/…           TFRecord shards, tables, TFDS metadata
    {root}/backbones/<fingerprint>/…      the frozen backbone that features came from
    {root}/features/<fingerprint>/…       cached features
    {root}/maps/<fingerprint>/…           kept maps, where a training keeps them
    {root}/models/<run_id>/…              model, metrics, gate verdict
    {root}/models/<run_id>/serving/…      what works without the root, once exported
    {root}/models/champion.json           pointer to the promoted model
    {root}/comparisons/<id>/…             what `trainer.compare` found
    {root}/rankings/<version>/…           Parquet
    {root}/warehouse.duckdb               the published tables, locally
    {root}/reports/<run_date>/index.html
    {root}/runs/<run_date>/<stage>.json   receipts
    {root}/runs/<run_date>/catalog_images.parquet
    {root}/runs/<run_date>/images_on_trial.parquet

Versions name immutable folders by what went into them. A run is a date: each stage
leaves a receipt there that says which version it made or reused, and the next stage
starts from it. Running a date again with the same input finds everything complete.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import Any

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.errors import InputError
from tfrecords_schema.usage import Usage


class Stage(enum.StrEnum):
    """The stages of a run, in order; task ids and receipt names."""

    FETCH_IMAGES = "fetch_images"
    BUILD_DATASET = "build_dataset"
    VALIDATE_DATASET = "validate_dataset"
    EXTRACT_FEATURES = "extract_features"
    TRAIN = "train"
    EVALUATE = "evaluate"
    GATE = "gate"
    PROMOTE = "promote"
    RANK_CATALOG = "rank_catalog"
    PUBLISH = "publish"
    REPORT = "report"


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """What one stage of one run did.

    Attributes:
        stage: which stage.
        outputs: names and versions of what it made, relative to the root.
        counts: numbers for people: rows in, rows out, rejections by code.
        seconds: wall time of the stage.
        reused: whether the output was complete already.
        notes: warnings that belong in the report.
        usage: what it took of the machine; of earlier versions there is none.
        decided_by: what the output follows from, where people ask for that.
    """

    stage: Stage
    outputs: dict[str, str]
    counts: dict[str, int]
    seconds: float
    reused: bool = False
    notes: tuple[str, ...] = ()
    usage: Usage | None = None
    decided_by: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Root:
    """The storage root, and where stages find what others have left.

    Files inside of those folders are named by whoever writes them, and so are folders
    that one job alone knows, such as `comparisons`.
    """

    path: epath.Path

    @classmethod
    def of(cls, path: str) -> Root:
        """A root from the value of `--root`; raises as `storage.path_of_option`."""
        if not path:
            raise InputError("the storage root is empty; set --root")
        return cls(storage.path_of_option(path, "--root"))

    @property
    def image_store(self) -> epath.Path:
        """Segments of fetched pictures."""
        return self.path / "images"

    @property
    def datasets(self) -> epath.Path:
        """All data set versions."""
        return self.path / "datasets"

    def dataset(self, version: str) -> epath.Path:
        """One data set version."""
        return self.datasets / version

    def backbone(self, fingerprint: str) -> epath.Path:
        """One frozen backbone."""
        return self.path / "backbones" / fingerprint

    def feature_store(self, fingerprint: str) -> epath.Path:
        """Segments of features of one backbone."""
        return self.path / "features" / fingerprint

    def kept_maps(self, fingerprint: str) -> epath.Path:
        """What one backbone made of pictures for models that no features are of."""
        return self.path / "maps" / fingerprint

    def model(self, run_id: str) -> epath.Path:
        """One trained model with its metrics."""
        return self.path / "models" / run_id

    @property
    def champion(self) -> epath.Path:
        """The pointer to the promoted model."""
        return self.path / "models" / "champion.json"

    def rankings(self, version: str) -> epath.Path:
        """One ranking run's Parquet files."""
        return self.path / "rankings" / version

    @property
    def warehouse(self) -> epath.Path:
        """The local warehouse, one DuckDB file."""
        return self.path / "warehouse.duckdb"

    def report(self, run_date: datetime.date) -> epath.Path:
        """The report of one date."""
        return self.path / "reports" / run_date.isoformat()

    def receipt_path(self, run_date: datetime.date, stage: Stage) -> epath.Path:
        """Where a stage of a run leaves its receipt."""
        return self.path / "runs" / run_date.isoformat() / f"{stage}.json"

    def catalog_images(self, run_date: datetime.date) -> epath.Path:
        """Which pictures the catalogue of a date has."""
        return self.path / "runs" / run_date.isoformat() / "catalog_images.parquet"

    def images_on_trial(self, run_date: datetime.date) -> epath.Path:
        """Pictures that were new when a fetch of the date began, until one passes."""
        return self.path / "runs" / run_date.isoformat() / "images_on_trial.parquet"

    def run_dates(self) -> list[datetime.date]:
        """Dates that have left anything, oldest first; what else lies there is none."""
        runs = self.path / "runs"
        names = [path.name for path in runs.iterdir()] if runs.exists() else []
        dates = map(_date_named, names)
        return sorted(date for date in dates if date is not None)

    def write_receipt(self, run_date: datetime.date, receipt: Receipt) -> None:
        """Replace the receipt of a stage."""
        storage.write_json(
            self.receipt_path(run_date, receipt.stage), dataclasses.asdict(receipt)
        )

    def find_receipt(self, run_date: datetime.date, stage: Stage) -> Receipt | None:
        """The receipt of a stage, or None where it has not run for that date."""
        path = self.receipt_path(run_date, stage)
        if not path.exists():
            return None
        fields: dict[str, Any] = storage.read_json(path)
        fields["stage"] = Stage(fields["stage"])
        fields["notes"] = tuple(fields["notes"])
        if fields.get("usage"):
            fields["usage"] = Usage(**fields["usage"])
        return Receipt(**fields)

    def receipt(self, run_date: datetime.date, stage: Stage) -> Receipt:
        """The receipt of a stage.

        Raises:
            InputError: the stage has not run for that date.
        """
        receipt = self.find_receipt(run_date, stage)
        if receipt is None:
            raise InputError(
                f"stage {stage} has not run for {run_date} under {self.path}; "
                f"run it first, or change --root or --run_date"
            )
        return receipt


def _date_named(name: str) -> datetime.date | None:
    """The date that is written exactly so, or None: a file manager leaves names too."""
    try:
        date = datetime.date.fromisoformat(name)
    except ValueError:
        return None
    return date if date.isoformat() == name else None


def parse_run_date(text: str) -> datetime.date:
    """A run date from an option's value.

    Raises:
        InputError: it is not a date in the form YYYY-MM-DD.
    """
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise InputError(
            f"--run_date {text!r} is not a date; write it as YYYY-MM-DD"
        ) from None
