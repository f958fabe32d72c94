"""Weight clustering of small trained networks."""

from dataclasses import replace

import numpy as np
import pytest
import tf_keras as keras

from models.compress import ClusterSettings, PruneSettings
from models.compress.clustering import cluster_weights
from models.compress.magnitude import prune_by_magnitude
from models.errors import ModelsError
from models.metrics import accuracy
from models.network import recurrences
from models.prediction import predict
from models.training_settings import TrainingSettings

CLUSTERS = ClusterSettings(16)
SETTINGS = TrainingSettings(epochs=4, learning_rate=1e-3)
# Chosen bound: of the 370 test sequences, clustering may cost at most this share.
ACCURACY_LOST = 0.05


def matrices(network):
    weights = [w for layer in recurrences(network) for w in layer.cell.get_prunable_weights()]
    return [weight.numpy() for weight in (*weights, network.get_layer("head").kernel)]


@pytest.mark.parametrize(("cell", "options"), [("gru", {}), ("lstm", {"rank": 8}), ("oru", {})])
def test_matrices_share_a_few_values_and_the_accuracy_stays(vowels, trained, cell, options):
    network, architecture = trained(cell, **options)
    before = network.get_weights()
    keras.utils.set_random_seed(1)
    result = cluster_weights(network, architecture, vowels, CLUSTERS, SETTINGS)
    clustered = result.network
    counts = [len(np.unique(matrix)) for matrix in matrices(clustered)]
    assert max(counts) <= CLUSTERS.clusters
    assert sorted(result.facts["distinct_values"].values()) == sorted(counts)
    lost = accuracy(predict(network, vowels.test), vowels.test) - accuracy(
        predict(clustered, vowels.test), vowels.test
    )
    assert lost <= ACCURACY_LOST
    for old, now in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


@pytest.mark.slow
def test_zeros_of_a_pruned_network_stay(vowels, trained):
    keras.utils.set_random_seed(1)
    sparse = PruneSettings(sparsity=0.6)
    result = prune_by_magnitude(*trained("gru"), vowels, sparse, replace(SETTINGS, epochs=3))
    pruned = result.network
    clustered = cluster_weights(pruned, result.architecture, vowels, CLUSTERS, SETTINGS).network
    for old, now in zip(matrices(pruned)[:-1], matrices(clustered)[:-1], strict=True):
        assert np.all(now[old == 0] == 0)


def test_too_few_clusters_are_refused():
    with pytest.raises(ModelsError, match="clusters must be 3 or more, not 2"):
        ClusterSettings(2)
