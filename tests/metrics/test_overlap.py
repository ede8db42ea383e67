"""Overlap and surface distances against scipy, on masks of every kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from fairjax.metrics.overlap import dice, hd95, iou, nsd, squared_distance, surface

masks_2d = arrays(bool, (7, 9))
masks_3d = arrays(bool, (4, 5, 6), elements=st.booleans())


def reference(pred, true, spacing, tolerance):
    """Surfaces by erosion, distances by scipy, percentiles by NumPy."""
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (pred, true)]
    if not edges[0].any() and not edges[1].any():
        return 0.0, 1.0
    if not edges[0].any() or not edges[1].any():
        return np.nan, 0.0
    distances = [
        ndimage.distance_transform_edt(~other, sampling=spacing)[edge]
        for edge, other in (edges, edges[::-1])
    ]
    near = sum((distance <= tolerance).sum() for distance in distances)
    return max(np.percentile(distance, 95) for distance in distances), near / sum(
        map(len, distances)
    )


@jax.jit
def both(pred, true, spacing):
    return hd95(pred, true, spacing), nsd(pred, true, spacing, 1.1)


@pytest.mark.parametrize(
    ("shapes", "spacing"),
    [(masks_2d, (1.0, 1.0)), (masks_2d, (0.7, 2.5)), (masks_3d, (3.0, 0.5, 1.0))],
)
def test_surface_measures_equal_those_of_scipy(shapes, spacing):
    @settings(deadline=None, max_examples=40)
    @given(pred=shapes, true=shapes)
    def check(pred, true):
        step = jnp.asarray(spacing)
        expected = reference(pred, true, spacing, 1.1)
        np.testing.assert_allclose(both(pred, true, step), expected, rtol=1e-5, atol=1e-5)

    check()


@settings(deadline=None, max_examples=40)
@given(pred=masks_2d, true=masks_2d)
def test_overlaps_follow_their_definitions(pred, true):
    both, either = (pred & true).sum(), (pred | true).sum()
    assert dice(pred, true) == pytest.approx(
        2 * both / (pred.sum() + true.sum()) if either else 1, abs=1e-6
    )
    assert iou(pred, true) == pytest.approx(both / either if either else 1, abs=1e-6)


@pytest.mark.parametrize("empty", [0.0, 1.0])
def test_two_empty_masks_have_the_value_that_was_chosen(empty):
    nothing = np.zeros((4, 4), bool)
    assert (
        dice(nothing, nothing, empty)
        == iou(nothing, nothing, empty)
        == nsd(nothing, nothing, jnp.ones(2), 1.0, empty)
        == empty
    )


def test_counts_stay_exact_where_float32_would_not():
    pred = np.ones((4200, 4200), bool)
    true = pred.copy()
    true[0, 0] = False
    assert float(iou(pred, true)) < 1


def test_the_edge_of_the_image_is_a_surface_and_a_lone_voxel_is_one():
    assert surface(np.ones((3, 3), bool)).sum() == 8
    assert surface(np.eye(3, dtype=bool)).sum() == 3


def test_distances_to_nothing_are_far():
    assert squared_distance(np.zeros((3, 4), bool), jnp.ones(2)).min() >= 1e11
