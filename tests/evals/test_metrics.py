from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from evals import metrics


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 300)
    scores = np.round(1 / (1 + np.exp(-(rng.normal(0, 1.2, 300) + labels))), 2)  # rounded, so that ties occur
    return labels, scores


def test_ranking_measures_agree_with_scikit_learn(scored):
    labels, scores = scored
    assert metrics.auroc(labels, scores) == pytest.approx(reference.roc_auc_score(labels, scores))
    assert metrics.average_precision(labels, scores) == pytest.approx(reference.average_precision_score(labels, scores))
    weights = np.random.default_rng(0).random(len(labels))
    assert metrics.auroc(labels, scores, weights) == pytest.approx(
        reference.roc_auc_score(labels, scores, sample_weight=weights)
    )
    fpr, tpr, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    for limit in (0.01, 0.05):
        assert metrics.tpr_at_fpr(labels, scores, limit) == pytest.approx(tpr[fpr <= limit].max())


def test_probability_measures_agree_with_scikit_learn(scored):
    labels, scores = scored
    assert metrics.nll(labels, scores) == pytest.approx(reference.log_loss(labels, np.clip(scores, 1e-12, 1 - 1e-12)))
    assert metrics.brier(labels, scores) == pytest.approx(reference.brier_score_loss(labels, scores))
    weights = np.linspace(0.1, 2, len(labels))
    assert metrics.brier(labels, scores, weights) == pytest.approx(
        reference.brier_score_loss(labels, scores, sample_weight=weights)
    )


def test_ece_by_hand_and_its_floor():
    assert metrics.ece([1, 0, 1, 1], [0.9, 0.9, 0.1, 0.1]) == pytest.approx(0.5 * 0.4 + 0.5 * 0.9)
    assert metrics.ece([1, 1], [1.0, 1.0]) == 0.0
    rng = np.random.default_rng(1)
    p = rng.random(200)
    floor = metrics.ece_if_calibrated(p, seed=5, draws=300)
    assert floor == metrics.ece_if_calibrated(p, seed=5, draws=300)
    assert 0.02 < floor.low < floor.value < floor.high < 0.15, "200 samples show a visible error even when all is right"
    assert metrics.ece(rng.random(200) < p**3, p) > floor.high, "a model that is off is seen to be off"


def test_risk_coverage():
    coverage, risk, area = metrics.risk_coverage([1, 1, 0, 0], [0.9, 0.8, 0.7, 0.7])
    np.testing.assert_allclose(coverage, [0.25, 0.5, 1.0])
    np.testing.assert_allclose(risk, [0.0, 0.0, 0.5])
    assert area == pytest.approx(0.25)


def test_bootstrap_draws_whole_groups():
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 200)
    scores = labels * 0.5 + rng.normal(0, 1, 400)
    lone = metrics.bootstrap(metrics.auroc, labels, scores, np.arange(400), seed=1, draws=300)
    # The same rows, each twenty times over: by row they look certain, by group they are what they were.
    repeated = np.tile(np.arange(400), 20)
    grouped = metrics.bootstrap(metrics.auroc, labels[repeated], scores[repeated], repeated, seed=1, draws=300)
    assert lone.low < lone.value < lone.high
    assert grouped.high - grouped.low == pytest.approx(lone.high - lone.low, rel=0.2)
    assert grouped.groups == 400


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    held = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        labels = np.repeat([0, 1], 60)
        scores = rng.normal(0, 1, 120) + labels * math.sqrt(2) * 0.6744897501960817  # true AUROC 0.75
        found = metrics.bootstrap(metrics.auroc, labels, scores, np.arange(120), seed=trial, draws=150)
        held += found.low <= 0.75 <= found.high
    assert 80 <= held <= 98


def test_paired_differences_are_narrower_than_the_sum_of_both():
    rng = np.random.default_rng(2)
    labels = np.tile([0, 1], 150)
    shared = labels + rng.normal(0, 1.5, 300)
    ours, theirs = shared + rng.normal(0, 0.1, 300), shared + rng.normal(0, 0.1, 300)
    found = metrics.paired_bootstrap(metrics.auroc, labels, ours, theirs, np.arange(300), seed=0, draws=200)
    alone = metrics.bootstrap(metrics.auroc, labels, ours, np.arange(300), seed=0, draws=200)
    assert found.low < 0 < found.high
    assert found.high - found.low < (alone.high - alone.low) / 3
    same = metrics.paired_bootstrap(metrics.auroc, labels, ours, ours, np.arange(300), seed=0, draws=20)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_replicate_without_a_class_is_left_out_and_counted():
    found = metrics.bootstrap(metrics.auroc, [0, 1], [0.1, 0.9], ["a", "b"], seed=0, draws=100)
    assert 20 < found.lost < 80
    assert found.value == found.low == found.high == 1.0


def test_masks():
    truth = np.zeros((4, 4), dtype=bool)
    truth[:2] = True
    assert metrics.mask_iou(truth, truth) == 1.0
    assert metrics.mask_iou(np.ones((4, 4)), truth) == 0.5
    assert math.isnan(metrics.mask_iou(np.zeros((4, 4)), np.zeros((4, 4))))
    heat = np.zeros((4, 4))
    heat[0, 3] = 1
    assert metrics.pointing_accuracy([heat, 1 - heat], [truth, truth]) == pytest.approx((1 + 7 / 15) / 2)
    with pytest.raises(ValueError, match="same shape"):
        metrics.mask_iou(truth, np.ones((4, 5)))


def test_what_cannot_be_measured_is_nan():
    assert math.isnan(metrics.auroc([1, 1], [0.1, 0.2]))
    assert math.isnan(metrics.auroc([], []))
    assert math.isnan(metrics.average_precision([0, 0], [0.1, 0.2]))
    assert math.isnan(metrics.nll([], []))
    with pytest.raises(ValueError, match="0 or 1"):
        metrics.auroc([0, 2], [0.1, 0.2])


def test_balanced_weights_and_wilson():
    weights = metrics.balanced_weights([1, 0, 0, 0])
    np.testing.assert_allclose(weights, [0.5, 1 / 6, 1 / 6, 1 / 6])
    assert not metrics.balanced_weights([1, 1]).any()
    low, high = metrics.wilson(5, 100, z=1.96)
    assert (low, high) == (pytest.approx(0.0215, abs=1e-3), pytest.approx(0.1118, abs=1e-3))
    assert metrics.wilson(0, 0) == (0.0, 1.0)
