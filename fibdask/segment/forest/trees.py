"""Trees as arrays: grown by scikit-learn, kept as numbers, and asked without it.

They are boosted: each is grown on what those before it get wrong (J. H. Friedman, Annals of
Statistics 29 (2001) 1189-1232). On a few painted slices they err less than as many independent
ones, and grow ten times as fast.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from ...conventions import ConventionError
from . import _kernels as kernels

SKLEARN_IS_MISSING = (
    "trees are grown by scikit-learn, which is not installed; install fibdask[labels]"
)
COLUMNS = 4  # of packed nodes
_FEATURE, _THRESHOLD, _LEFT, _VALUE = range(COLUMNS)


@dataclass(frozen=True)
class Growth:
    """How trees grow.

    Attributes
    ----------
    rounds
        Of boosting: each adds a tree for two classes, or one for each of more.
    leaves
        Most leaves of a tree.
    depth
        Most steps from a root to a leaf.
    rate
        Share of what a round has found that is kept.
    seed
        Of which painted pixels are shown.
    """

    rounds: int = 100
    leaves: int = 31
    depth: int = 6
    rate: float = 0.1
    seed: int = 0

    def shape(self, classes: int) -> tuple[int, int, int]:
        """Return the shape (tree, node, column) of packed nodes."""
        return self.rounds * _scores(classes), 2 * self.leaves - 1, COLUMNS

    def grow(self, features: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
        """Return packed nodes (tree, node, column), float64.

        Parameters
        ----------
        features
            Of painted pixels, float32 (pixel, feature).
        classes
            What they are painted as (pixel), from 0.
        count
            Number of classes, all of which are painted.

        Raises
        ------
        ConventionError
            If scikit-learn is not installed.
        """
        boosting = scikit_learn("sklearn.ensemble").HistGradientBoostingClassifier(
            max_iter=self.rounds,
            max_leaf_nodes=self.leaves,
            max_depth=self.depth,
            learning_rate=self.rate,
            early_stopping=False,
            random_state=self.seed,
        )
        # One thread: sums of several differ in their last bits.
        with scikit_learn("threadpoolctl").threadpool_limits(1):
            boosting.fit(features, classes)
        packed = np.zeros(self.shape(count))
        # Of what was grown there is no public view; predictions are compared in a test.
        grown = [tree.nodes for trees in boosting._predictors for tree in trees]
        for nodes, tree in zip(packed, grown, strict=True):
            _pack(tree, nodes)
        scores = _scores(count)
        packed[:scores, :, _VALUE] += boosting._baseline_prediction.reshape(scores, 1)
        return packed


@dataclass(frozen=True, eq=False)
class Trees:
    """Nodes (tree, node) in the types that `kernels.vote` takes.

    Attributes
    ----------
    feature, threshold, left, value
        What is looked at, what is exceeded, the first child, and what a leaf adds.
    depth
        Steps to the deepest leaf (tree).
    classes
        Number of classes.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    value: np.ndarray
    depth: np.ndarray
    classes: int

    @classmethod
    def of(cls, packed: np.ndarray, classes: int) -> "Trees":
        """Return the nodes of packed ones."""
        columns = np.moveaxis(packed, -1, 0)
        left = columns[_LEFT].astype(np.int32)
        return cls(
            columns[_FEATURE].astype(np.int32),
            columns[_THRESHOLD].astype(np.float32),
            left,
            columns[_VALUE].astype(np.float32),
            np.array([_depth(nodes) for nodes in left], np.int64),
            classes,
        )

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probabilities of pixels (pixel, class), float64; of two classes the second.

        Parameters
        ----------
        features
            Of the pixels, float32 (feature, pixel).
        """
        votes = np.zeros((features.shape[1], _scores(self.classes)), np.float32)
        nodes = self.feature, self.threshold, self.left, self.value, self.depth
        kernels.vote(features, *nodes, votes)
        scores = votes.astype(np.float64)
        if self.classes == 2:
            return np.asarray(1 / (1 + np.exp(-scores)))
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def scikit_learn(module: str) -> Any:
    """Return a module of scikit-learn, or one that it needs.

    Raises
    ------
    ConventionError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ConventionError(SKLEARN_IS_MISSING) from None


def features_of(packed: np.ndarray) -> int:
    """Return how many features packed nodes (tree, node, column) know: the last one looked at."""
    return int(packed[..., _FEATURE].max()) + 1


def _scores(classes: int) -> int:
    """Return how many numbers tell classes apart."""
    return 1 if classes == 2 else classes


def _pack(tree: np.ndarray, nodes: np.ndarray) -> None:
    """Fill nodes (node, column) with a tree, numbered so that both children follow each other."""
    nodes[:, _THRESHOLD] = np.inf
    nodes[:, _LEFT] = np.arange(len(nodes))
    waiting, next_one = [(0, 0)], 1
    while waiting:
        number, place = waiting.pop(0)
        node = tree[number]
        if node["is_leaf"]:
            nodes[place, _VALUE] = node["value"]
            continue
        threshold = _lowered(float(node["num_threshold"]))
        nodes[place, :_VALUE] = node["feature_idx"], threshold, next_one
        waiting += [(int(node["left"]), next_one), (int(node["right"]), next_one + 1)]
        next_one += 2


def _lowered(threshold: float) -> np.float32:
    """Return the largest float32 that does not exceed a threshold: it parts float32 alike."""
    lowered = np.float32(threshold)
    if float(lowered) > threshold:
        lowered = np.nextafter(lowered, np.float32(-np.inf))
    return lowered


def _depth(left: np.ndarray) -> int:
    """Return the steps from the root to the deepest leaf of nodes (node)."""
    level, steps = np.array([0]), 0
    while len(level := level[left[level] != level]):
        level = np.concatenate([left[level], left[level] + 1])
        steps += 1
    return steps
