"""Drawing a pair's negatives from a pool: in random order, and never a match.

Deterministic in (seed, pair). A co-positive (another product known to be in the same
scene) is never drawn, nor is a product whose picture is that of a positive or nearly
so: the same garment under two ids would teach the model to push a match away. Of
negatives that are nearly one picture the first is enough; its copies would only repeat
it, and are taken last, where the pool has nothing else left.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from beam_jobs.dataset.splits import MAX_DISTANCE
from beam_jobs.mining.negatives import Candidate, NegativeRule
from tfrecords_schema.hashing import stable_hash

_CHUNK = 64  # draws at a time: about what a pair needs, and one call for all of them


class CandidatePool:
    """A category's candidates as arrays; pickles as what it is made of.

    Attributes:
        candidates: m products.
        rows: [m] int64, 0 to m - 1.
        cumulative: [m] uint64, running sum of their weights.
    """

    def __init__(
        self, candidates: Iterable[Candidate], weights: Iterable[int] | None = None
    ) -> None:
        """Make the arrays.

        Args:
            candidates: in an order that does not depend on how they were gathered.
            weights: how likely each is to be drawn next, whole numbers from 1; all
                alike if None.
        """
        self.candidates = tuple(candidates)
        self._weights = None if weights is None else tuple(weights)
        self.rows = np.arange(len(self.candidates))
        self.cumulative = running_sum(self._weights or [1] * len(self.candidates))
        self._rows_by_id: dict[str, int] = {}
        self._rows_by_content: dict[str, list[int]] = defaultdict(list)
        for row, candidate in enumerate(self.candidates):
            self._rows_by_id[candidate.product_id] = row
            self._rows_by_content[candidate.sha256].append(row)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return CandidatePool, (self.candidates, self._weights)

    def __len__(self) -> int:
        return len(self.candidates)

    def rows_of(self, products: Iterable[Candidate]) -> set[int]:
        """The members that have the id or the very picture of one of the products."""
        rows: set[int] = set()
        for product in products:
            rows.update(self._rows_by_content.get(product.sha256, ()))
            if product.product_id in self._rows_by_id:
                rows.add(self._rows_by_id[product.product_id])
        return rows


def draw_negatives(
    pair_id: str,
    pool: CandidatePool,
    *,
    positives: Sequence[Candidate],
    rule: NegativeRule,
) -> list[Candidate]:
    """Draw a pair's negatives by the pool's weights, without replacement.

    Args:
        pair_id: the pair; with the rule's seed it decides the draw.
        pool: candidates of the pair's category.
        positives: the pair's product and its co-positives of that category.
        rule: how many, and the seed.

    Returns:
        At most `rule.per_pair` candidates, in drawing order; empty where every
        candidate is a positive or nearly one.
    """
    order = drawing_order(pool.rows, pool.cumulative, key=draw_key(pair_id, rule))
    rows = choose(pool, order, positives=positives, limit=rule.per_pair)
    return [pool.candidates[row] for row in rows]


def draw_key(pair_id: str, rule: NegativeRule) -> tuple[object, ...]:
    """What decides a pair's draw."""
    return rule.seed, "negatives", pair_id


def drawing_order(
    members: np.ndarray, cumulative: np.ndarray, *, key: Sequence[object]
) -> Iterator[int]:
    """Members in a random order, made only as far as it is consumed.

    Each is drawn among those not drawn before with a chance in proportion to its
    weight. A draw from all that hits one drawn before is repeated, which comes to the
    same; where most draws are repeats, those drawn before are taken out first.

    Args:
        members: [m] int64, not two alike.
        cumulative: [m] uint64, running sum of their weights.
        key: decides the order.

    Yields:
        Members, in the end each once.
    """
    drawn: set[int] = set()
    for words in _random_words(key):
        if not len(members):
            return
        hits = np.searchsorted(cumulative, words % cumulative[-1], side="right")
        n_before = len(drawn)
        for member in members[hits].tolist():
            if member not in drawn:
                drawn.add(member)
                yield member
        if len(drawn) - n_before < _CHUNK // 2:
            is_left = np.isin(members, list(drawn), invert=True)
            weights = np.diff(cumulative, prepend=np.uint64(0))
            members, cumulative = members[is_left], running_sum(weights[is_left])


def choose(
    pool: CandidatePool,
    order: Iterable[int],
    *,
    positives: Sequence[Candidate],
    limit: int,
) -> list[int]:
    """Take members in the given order, but for the matches of a positive.

    Args:
        pool: the candidates.
        order: rows of the pool, each once.
        positives: what must not be taken, nor anything that nearly shows it.
        limit: how many.

    Returns:
        Rows of the pool: first of different pictures, then copies of those.
    """
    excluded = pool.rows_of(positives)
    matches = [positive.phash for positive in positives]
    chosen: list[int] = []
    copies: list[int] = []
    contents: set[str] = set()
    hashes: list[int] = []
    for row in order:
        candidate = pool.candidates[row]
        if row in excluded or _is_near(candidate.phash, matches):
            continue
        if candidate.sha256 in contents or _is_near(candidate.phash, hashes):
            copies.append(row)
            continue
        chosen.append(row)
        if len(chosen) == limit:
            break
        contents.add(candidate.sha256)
        hashes.append(candidate.phash)
    return (chosen + copies)[:limit]


def _random_words(key: Sequence[object]) -> Iterator[np.ndarray]:
    """Endless random [64] uint64, the same for a key everywhere.

    SHAKE128 of the key's hash: one call gives what a hash for each draw would, and
    the function, unlike the generators of a library, is a standard that stays.
    """
    seed = stable_hash(*key).to_bytes(8, "big")
    block = 0
    while True:
        hasher = hashlib.shake_128(seed + block.to_bytes(8, "big"))
        yield np.frombuffer(hasher.digest(8 * _CHUNK), ">u8").astype(np.uint64)
        block += 1


def running_sum(weights: Iterable[int] | np.ndarray) -> np.ndarray:
    """Running sum of whole numbers, uint64."""
    return np.cumsum(np.asarray(weights, np.uint64), dtype=np.uint64)


def _is_near(phash: int, others: Iterable[int]) -> bool:
    # A plain loop: for a few dozen of them a call of NumPy takes as long.
    for other in others:
        if (phash ^ other).bit_count() <= MAX_DISTANCE:
            return True
    return False
