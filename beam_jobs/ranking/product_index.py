"""Indexes of blocks of products: which products to look at, instead of all.

FAISS's `IndexIVFScalarQuantizer` in halves: products lie in lists around centres, each
rounded to float16, and a query looks at the lists whose centres are nearest.
docs/ranking.md says why this one. The library is imported when an index is asked for,
and not before.

All of it runs in one thread, FAISS's and BLAS's own threads included: the same vectors
make the same index, and the same queries find the same products.
"""

from __future__ import annotations

import dataclasses
import functools
from types import ModuleType
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from tfrecords_schema.errors import InputError

LEAST_PRODUCTS = 16_384
"""Of a block that gets an index: fewer are ranked as fast without."""
DEFAULT_PROBES = 16
"""Of 256 lists in a whole block: recall@20 was 0.986 where docs/ranking.md measures."""
MAX_LISTS = 256
"""With more the index takes longer to make than the queries of a night save."""
ROUNDING = 2.0**-11
"""Error of a product in the index, of its length; of unit vectors, as float16 ends at
6e-8."""
_SEED = 1
_ROUNDS = 8  # of k-means; later ones move no more than a hundredth of the products
_TRAINED_ON = 64  # products a centre, of those that the block holds


@dataclasses.dataclass(frozen=True, slots=True)
class IndexRule:
    """How approximate a ranking may be.

    Attributes:
        probes: lists that a query looks at, of each block.
        min_recall: share of the exact lists that must have been found.
    """

    probes: int
    min_recall: float

    @property
    def identity(self) -> dict[str, Any]:
        """What of it the rankings follow from."""
        return {
            "kind": f"faiss-{faiss_library().__version__}-ivf_fp16",
            **dataclasses.asdict(self),
        }


def build_index(vectors: np.ndarray) -> bytes:
    """The index of a block's products.

    Args:
        vectors: [m, dim] float32, unit: float16 has no room for other scales.
    """
    faiss = _in_one_thread()
    n_lists = min(MAX_LISTS, int(len(vectors) ** 0.5))
    dim = vectors.shape[1]
    centres = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFScalarQuantizer(
        centres,
        dim,
        n_lists,
        faiss.ScalarQuantizer.QT_fp16,
        faiss.METRIC_INNER_PRODUCT,
        False,  # products, not what is left of them without their centre
    )
    index.cp.seed = _SEED
    index.cp.niter = _ROUNDS
    index.cp.max_points_per_centroid = _TRAINED_ON
    index.cp.spherical = True  # centres are compared by inner product, as products are
    rows = np.ascontiguousarray(vectors, np.float32)
    index.train(rows)
    index.add(rows)
    data: bytes = faiss.serialize_index(index).tobytes()
    return data


class ProductIndex:
    """An index that was built."""

    def __init__(self, data: bytes) -> None:
        """Read what `build_index` made."""
        faiss = faiss_library()
        self._index = faiss.deserialize_index(np.frombuffer(data, np.uint8))

    def search(self, queries: np.ndarray, n: int, *, probes: int) -> np.ndarray:
        """The nearest products in the lists that are nearest to each query.

        Threads may search one index at the same time.

        Args:
            queries: [q, dim] float32.
            n: products wanted.
            probes: lists to look at.

        Returns:
            [q, n] int64 places in the block; −1 where those lists hold no more.
        """
        faiss = _in_one_thread()
        parameters = faiss.SearchParametersIVF(nprobe=probes)
        _, places = self._index.search(
            np.ascontiguousarray(queries, np.float32), n, params=parameters
        )
        found: np.ndarray = places
        return found


@functools.cache
def faiss_library() -> ModuleType:
    """FAISS.

    Raises:
        InputError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            f"--index needs FAISS, which cannot be imported here ({error}): install "
            "the extra with pip install '.[index]', on the workers too, or leave "
            "--index away"
        ) from None
    # It brings a BLAS of its own, which is limited for good, as ours is.
    ThreadpoolController().limit(limits=1, user_api="blas")
    module: ModuleType = faiss
    return module


def _in_one_thread() -> Any:
    faiss = faiss_library()
    faiss.omp_set_num_threads(1)  # of the thread that calls
    return faiss
