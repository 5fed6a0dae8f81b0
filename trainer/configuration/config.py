"""Configuration of a training run.

What there is to choose is data here: which model, which loss, which negatives. The code
that a choice leads to is in `model`, `distances` and `losses` of `trainer.models` and
in `trainer.training.batches`.
"""

from __future__ import annotations

import dataclasses
import enum
import math

from tfrecords_schema.errors import InputError
from trainer.configuration.pictures_config import PLAIN, PicturesConfig


class Input(enum.StrEnum):
    """What a training reads."""

    FEATURES = "features"  # cached ones: the backbone has run once, for ever
    PICTURES = "pictures"  # those of the image store: the backbone runs in every step


class Distance(enum.StrEnum):
    """Of which parts a scene's distance to a product is made."""

    HYBRID = "hybrid"  # half the global and half the local one
    GLOBAL = "global"
    LOCAL = "local"


class Attention(enum.StrEnum):
    """What the attention over a scene's regions looks for."""

    CATEGORY = "category"  # a learned vector of the product's category
    PRODUCT = "product"  # the product's picture, by a head of its own
    PRODUCT_MAP = "product_map"  # the same as if its whole map were a region
    UNIFORM = "uniform"  # nothing: all regions alike


class Objective(enum.StrEnum):
    """What is minimised."""

    TRIPLET = "triplet"
    SOFTMAX = "softmax"


class Negatives(enum.StrEnum):
    """Which products a pair's own is held against in a step."""

    MINED = "mined"  # those that the data set has for the pair
    BATCH = "batch"  # all that the batch has of the category, over all replicas


class Pick(enum.StrEnum):
    """Which of the negatives count in the triplet loss."""

    ALL = "all"  # their mean
    SEMI_HARD = "semi_hard"  # the nearest of those farther than the positive
    HARDEST = "hardest"  # the nearest


class Reduction(enum.StrEnum):
    """What becomes of the losses of a batch's pairs before gradients are taken."""

    MEAN = "mean"
    SUM = "sum"


class Schedule(enum.StrEnum):
    """How the learning rate goes after the warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"


class Precision(enum.StrEnum):
    """In which numbers the heads compute; weights and losses are float32 always."""

    FLOAT32 = "float32"
    BFLOAT16 = "mixed_bfloat16"
    FLOAT16 = "mixed_float16"


class Method(enum.StrEnum):
    """How a model's weights are found."""

    GRADIENT = "gradient"  # step by step; see `trainer.training.loop`
    # Linear maps at once; see `trainer.models.linear_projection`.
    CLOSED_FORM = "closed_form"


BY_PRODUCT = frozenset({Attention.PRODUCT, Attention.PRODUCT_MAP})
"""Attention that each product has another of."""


def _check_above(least: float, name: str, value: float) -> None:
    if not least < value < math.inf:  # NaN is neither
        raise InputError(f"{name} {value} must be above {least}, and finite")


def _check_at_least(least: float, name: str, value: float) -> None:
    if not least <= value < math.inf:
        raise InputError(f"{name} {value} must be at least {least}, and finite")


def _check_share(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise InputError(f"{name} {value} must be at least 0 and below 1")


@dataclasses.dataclass(frozen=True, slots=True)
class ModelConfig:
    """The embedding model.

    Attributes:
        embedding_dim: of the common space (the paper's 128).
        global_units: first layer of the head g over pooled features.
        local_units: first layer of the heads l and l̂ over region features.
        key_units: first layer of l̂; None for as many as l has.
        dropout: share of the first layers' outputs dropped in training.
        distance: global, local or both.
        attention: what is looked for in the regions.
        near_regions: whether attention goes to the regions near to what is looked for,
            as published; else to those far from it.
        squared: whether distances are squared, as published; only then is a ranking an
            inner product.
        grid: rows and columns that a scene's regions are averaged to; None for those
            that the features have.
        standardize: whether the heads get features of mean 0 and deviation 1.
    """

    embedding_dim: int = 128
    global_units: int = 512
    local_units: int = 256
    key_units: int | None = None
    dropout: float = 0.5
    distance: Distance = Distance.HYBRID
    attention: Attention = Attention.CATEGORY
    near_regions: bool = True
    squared: bool = True
    grid: int | None = None
    standardize: bool = True

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: naming the field.
        """
        if self.grid is not None:
            _check_above(0, "model.grid", self.grid)
        for name in ("embedding_dim", "global_units", "local_units"):
            _check_above(0, f"model.{name}", getattr(self, name))
        if self.key_units is not None:
            _check_above(0, "model.key_units", self.key_units)
        _check_share("model.dropout", self.dropout)

    @property
    def is_inner_product(self) -> bool:
        """Whether the distance is a constant less the product of two vectors."""
        by_product = self.attention in BY_PRODUCT
        return self.squared and (not by_product or self.distance is Distance.GLOBAL)

    @property
    def keys_by_map(self) -> bool:
        """Whether the attention looks for the whole map of a product."""
        return self.attention is Attention.PRODUCT_MAP


@dataclasses.dataclass(frozen=True, slots=True)
class LossConfig:
    """What is minimised.

    Attributes:
        objective: triplet or softmax loss.
        negatives: which products may count against a pair.
        mined_per_pair: negatives of the data set that a pair brings to a step.
        cold_negatives: whether products that no pair of the train split has count
            among the mined ones. They are then pushed away from all scenes and pulled
            to none, so that a product is far from everything for being new. A pair
            that has no other negatives keeps them in any case.
        pick: which of them the triplet loss takes.
        margin: of the triplet loss (the paper's 0.2).
        temperature: of the softmax loss.
        reduction: of the losses of a batch.
        positive_key: whether a pair's negatives are seen with the attention of its own
            product, where attention depends on the product.
    """

    objective: Objective = Objective.TRIPLET
    negatives: Negatives = Negatives.MINED
    mined_per_pair: int = 1
    cold_negatives: bool = False
    pick: Pick = Pick.ALL
    margin: float = 0.2
    temperature: float = 0.1
    reduction: Reduction = Reduction.MEAN
    positive_key: bool = False

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: naming the field.
        """
        _check_above(0, "loss.mined_per_pair", self.mined_per_pair)
        _check_above(0, "loss.margin", self.margin)
        _check_above(0, "loss.temperature", self.temperature)
        if self.objective is Objective.SOFTMAX and self.pick is not Pick.ALL:
            raise InputError(
                f"loss.pick={self.pick} is for loss.objective=triplet; the softmax "
                "loss takes all negatives"
            )

    @property
    def can_pick(self) -> bool:
        """Whether a pair has several negatives in a step, so that `pick` decides."""
        return self.negatives is Negatives.BATCH or self.mined_per_pair > 1


@dataclasses.dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """How weights follow from gradients.

    Attributes:
        learning_rate: of AdamW, after the warm-up.
        weight_decay: decoupled, per step, times the learning rate.
        warmup_epochs: in which the learning rate rises from 0.
        schedule: of the learning rate after that.
        clip_norm: largest norm of all gradients together; None for any.
        average: momentum of the weights' running mean, whose weights are evaluated and
            kept; 0 for the weights themselves.
        precision: of the heads.
        xla: whether a step is compiled with XLA, on one replica. It does not pay on
            CPUs (docs/performance.md).
    """

    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    warmup_epochs: float = 0.0
    schedule: Schedule = Schedule.CONSTANT
    clip_norm: float | None = None
    average: float = 0.0
    precision: Precision = Precision.FLOAT32
    xla: bool = False

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: naming the field.
        """
        _check_above(0, "--learning_rate", self.learning_rate)
        for name in ("weight_decay", "warmup_epochs"):
            _check_at_least(0, f"optimizer.{name}", getattr(self, name))
        if self.clip_norm is not None:
            _check_above(0, "optimizer.clip_norm", self.clip_norm)
        _check_share("optimizer.average", self.average)


@dataclasses.dataclass(frozen=True, slots=True)
class ProjectionConfig:
    """Linear maps in closed form; see `trainer.models.linear_projection`.

    Attributes:
        dim: of the common space, at most.
        components: principal components of each side that are looked at.
        ridge: ρ, what is added to their variances, as a share of the mean variance;
            None for the one of a few that is best on the validation split.
        shrinkage: pairs that a category's mean needs to count half.
        others: weight of the scene's other products, all together, against its pairs.
        power: of the singular values: weak directions are mostly noise.
        centred: whether the means of categories are taken off.
    """

    dim: int = 128
    components: int = 300
    ridge: float | None = None
    shrinkage: float = 10.0
    others: float = 0.3
    power: float = 1.5
    centred: bool = True

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: naming the field.
        """
        for name in ("dim", "components"):
            _check_above(0, f"projection.{name}", getattr(self, name))
        for name in ("ridge", "shrinkage", "others", "power"):
            value = getattr(self, name)
            if value is not None:
                _check_at_least(0, f"projection.{name}", value)


@dataclasses.dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
        method: how its weights are found; in closed form nothing counts but
            `projection`.
        projection: of the closed form.
        input: cached features, or pictures.
        pictures: how they are looked at.
        model: its parts and sizes.
        loss: what is minimised.
        optimizer: how.
        batch_size: pairs in a step, over all replicas.
        same_category: pairs of one category that follow each other in a batch: with
            negatives from the batch, more of them make it harder.
        max_epochs: passes over the train split at most.
        patience: epochs without a better validation loss before training stops.
        seed: of weights, order, dropout and choice of negatives.
    """

    method: Method = Method.GRADIENT
    projection: ProjectionConfig = ProjectionConfig()
    input: Input = Input.FEATURES
    pictures: PicturesConfig = PLAIN
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch_size: int = 64
    same_category: int = 1
    max_epochs: int = 60
    patience: int = 12
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: naming the option.
        """
        for name in ("batch_size", "max_epochs", "patience"):
            _check_above(0, f"--{name}", getattr(self, name))
        _check_above(0, "same_category", self.same_category)
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed {self.seed} is not in 0..{2**32 - 1}")
        self._check_together()

    def _check_together(self) -> None:
        warmup = self.optimizer.warmup_epochs
        if warmup > self.max_epochs:
            raise InputError(
                f"optimizer.warmup_epochs={warmup} is more than --max_epochs "
                f"{self.max_epochs}: the learning rate would never be reached"
            )
        attention = self.model.attention
        if self.input is Input.PICTURES and self.method is Method.CLOSED_FORM:
            raise InputError(
                f"method={self.method} is for input={Input.FEATURES}, not for "
                f"input={self.input}"
            )
        if self.input is Input.FEATURES and self.pictures != PLAIN:
            raise InputError(
                f"pictures.* is set, and input={self.input} reads no picture; add "
                "--set input=pictures"
            )
        if attention is Attention.PRODUCT_MAP and not self.pictures.cells:
            raise InputError(
                f"model.attention={attention} compares whole maps, which only cells of "
                "a scene have; set input=pictures and pictures.cells"
            )
        if self.loss.positive_key and attention not in BY_PRODUCT:
            raise InputError(
                f"loss.positive_key is for attention that depends on the product, not "
                f"for model.attention={attention}"
            )
