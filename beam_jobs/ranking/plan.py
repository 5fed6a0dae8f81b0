"""How a ranking is cut into blocks, and where each block's files lie meanwhile.

Scenes and products are listed once, in the order of their ids, and are numbers from
then on: a product's number within its category, a scene's among all. Both sides are
embedded block by block into files; what is ranked are units, which name blocks of both
sides. So no vector goes through a shuffle, and none is computed twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pyarrow as pa
from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.dataset_tables import arrow_bytes, read_table
from tfrecords_schema.hashing import digest

_SCRATCH = "embeddings-"


@dataclasses.dataclass(frozen=True, slots=True)
class BlockSizes:
    """How much is held at once.

    Attributes:
        scenes: embedded at once; 512 are 50 MB of ResNet50 regions in float16.
        products: embedded at once, and read at once to be ranked; 65,536 are 32 MB of
            vectors.
        scene_blocks: of a unit: 16 are the queries of 8,192 scenes, 4 MB of vectors.
        product_blocks: of a unit; they are gone through one after the other, so more
            make units longer and partial lists fewer.
    """

    scenes: int = 512
    products: int = 65_536
    scene_blocks: int = 16
    product_blocks: int = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Unit:
    """Queries of some scenes for a category, against some of its products.

    Attributes:
        category: its number.
        group: of scene blocks.
        first: of the product blocks.
        last: after them; of an empty category 0, as `first` is.
    """

    category: int
    group: int
    first: int
    last: int


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The blocks of a ranking.

    Attributes:
        folder: of the ranking.
        categories: names, ascending.
        products: how many there are of each category.
        n_scenes: how many there are.
        sizes: of blocks.
    """

    folder: str
    categories: tuple[str, ...]
    products: tuple[int, ...]
    n_scenes: int
    sizes: BlockSizes

    @property
    def scratch(self) -> epath.Path:
        """Where the blocks' files lie until all is ranked."""
        name = digest(dataclasses.asdict(self.sizes), 8)
        return epath.Path(self.folder) / f"{_SCRATCH}{name}"

    @property
    def n_scene_blocks(self) -> int:
        """How many blocks of scenes there are."""
        return -(-self.n_scenes // self.sizes.scenes)

    @property
    def n_groups(self) -> int:
        """How many groups of scene blocks there are."""
        return -(-self.n_scene_blocks // self.sizes.scene_blocks)

    def n_product_blocks(self, category: int) -> int:
        """How many blocks of products a category has."""
        return -(-self.products[category] // self.sizes.products)

    def product_blocks(self) -> Iterator[tuple[int, int]]:
        """(category, block) of all blocks of products."""
        for category in range(len(self.categories)):
            for block in range(self.n_product_blocks(category)):
                yield category, block

    def blocks_of(self, group: int) -> range:
        """The scene blocks of a group."""
        first = group * self.sizes.scene_blocks
        return range(first, min(first + self.sizes.scene_blocks, self.n_scene_blocks))

    def units(self) -> Iterator[Unit]:
        """All there is to rank; of an empty category units without products."""
        for category in range(len(self.categories)):
            n_blocks = self.n_product_blocks(category)
            for first in range(0, max(1, n_blocks), self.sizes.product_blocks):
                last = min(first + self.sizes.product_blocks, n_blocks)
                for group in range(self.n_groups):
                    yield Unit(category, group, first, last)

    def product_stem(self, category: int, block: int) -> epath.Path:
        """The beginning of the names of a product block's files."""
        return self.scratch / f"products-{category:04d}-{block:05d}"

    def scene_stem(self, block: int) -> epath.Path:
        """The beginning of the names of a scene block's files."""
        return self.scratch / f"scenes-{block:05d}"

    def excluded_file(self, category: int, group: int) -> epath.Path:
        """Which products the lists of a unit may not hold; absent where any may be."""
        return self.scratch / f"excluded-{category:04d}-{group:05d}.npy"

    def attention_file(self, block: int) -> epath.Path:
        """Where the attention of a scene block's queries is written."""
        name = f"query_attention-{block:05d}-of-{self.n_scene_blocks:05d}.parquet"
        return epath.Path(self.folder) / name

    def rankings_file(self, category: int, group: int) -> epath.Path:
        """Where the lists of a category and a group of scenes are written."""
        number = category * self.n_groups + group
        total = len(self.categories) * self.n_groups
        name = f"rankings-{number:05d}-of-{total:05d}.parquet"
        return epath.Path(self.folder) / name


def with_suffix(stem: epath.Path, suffix: str) -> epath.Path:
    """A file of a block."""
    return stem.parent / f"{stem.name}.{suffix}"


_ACCOUNTS = ("queries.parquet", "products.parquet", "rejections.parquet")


def start(plan: Plan) -> None:
    """Make the folder, clearing it of what no run of this plan writes.

    What a killed run left may as well be of another that goes on at this moment: it
    has the same bytes and is kept, and what is half written is cleared by `finish`.
    """
    folder = epath.Path(plan.folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {plan.scratch.name, storage.MANIFEST, *_ACCOUNTS}
    kept |= {plan.attention_file(n).name for n in range(plan.n_scene_blocks)}
    kept |= {plan.rankings_file(u.category, u.group).name for u in plan.units()}
    for path in folder.iterdir():
        if path.name not in kept and not storage.is_temporary(path):
            _remove(path)


def finish(folder: epath.Path) -> None:
    """Clear a complete ranking of blocks and of what is half written.

    After the manifest is there: a run of the same ranking that goes on beside this one
    loses its blocks then, and finds that what it was to write is written.
    """
    storage.clear_temporary(folder)
    for path in folder.iterdir():
        if path.name.startswith(_SCRATCH):
            _remove(path)


def _remove(path: epath.Path) -> None:
    if path.is_dir():
        path.rmtree()
    else:
        path.unlink()


def write_lists(plan: Plan, scenes: pa.Table, products: list[pa.Table]) -> None:
    """Write what is in each block.

    Args:
        plan: of the ranking.
        scenes: scene_id, sha256, by id.
        products: of each category product_id, sha256 and maybe `group`, by id.
    """
    size = plan.sizes.scenes
    for block in range(plan.n_scene_blocks):
        some = scenes.slice(block * size, size)
        storage.write_atomic(_list_file(plan.scene_stem(block)), arrow_bytes(some))
    size = plan.sizes.products
    for category, block in plan.product_blocks():
        some = products[category].slice(block * size, size)
        path = _list_file(plan.product_stem(category, block))
        storage.write_atomic(path, arrow_bytes(some))


def read_list(stem: epath.Path, columns: list[str]) -> pa.Table:
    """What is in a block; see `write_lists`."""
    return read_table(_list_file(stem), columns)


def _list_file(stem: epath.Path) -> epath.Path:
    return with_suffix(stem, "list.parquet")
