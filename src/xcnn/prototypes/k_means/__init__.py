"""k-means over rows that need not fit in memory: seeded on a sample of them, then Lloyd's algorithm over all.

Seeding is k-means++ (Arthur & Vassilvitskii 2007) in scikit-learn's greedy variant: of `2 + log(k)` candidates at each
step, the one that leaves the least inertia. Several tries run together on a sample of the rows, and the best of them
starts the passes over all rows. A pass finds each row's nearest centroid by one matrix product, for those rows only
whose centroid may have changed by the distances of an earlier pass (Hamerly 2010), and moves the rows that changed
cluster from one sum to the other, in float64 across pieces. The stopping rule, and the farthest row for an empty
cluster, are scikit-learn's. So the same start gives its result.
"""

from xcnn.prototypes.k_means.distances import nearest
from xcnn.prototypes.k_means.estimator import KMeans
from xcnn.prototypes.k_means.rows import Rows

__all__ = ["KMeans", "Rows", "nearest"]
