import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fairjax.segmentation.prompts import KINDS, PromptPlan, box, center, interior, parse, tight_box
from fairjax.utils.errors import UserError

settings.register_profile(
    "slow_machine", suppress_health_check=[HealthCheck.too_slow], deadline=None
)
settings.load_profile("slow_machine")
MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(np.any)
NO_DRAWS = np.random.default_rng(0)


@given(MASKS)
def test_the_box_is_tight(mask):
    x0, y0, x1, y1 = tight_box(mask).astype(int)
    assert mask[y0 : y1 + 1, x0 : x1 + 1].sum() == mask.sum()
    assert all(line.any() for line in (mask[y0], mask[y1], mask[:, x0], mask[:, x1]))


@given(MASKS, st.floats(0, 0.9), st.integers(0, 5))
def test_a_jittered_box_stays_inside_the_image(mask, jitter, seed):
    x0, y0, x1, y1 = box(mask, np.random.default_rng(seed), jitter)
    assert 0 <= x0 <= x1 <= mask.shape[1] - 1
    assert 0 <= y0 <= y1 <= mask.shape[0] - 1


def test_jitter_moves_each_edge_by_at_most_its_share_of_the_side():
    mask = np.zeros((100, 100), bool)
    mask[40:60, 30:70] = True
    boxes = np.array([box(mask, np.random.default_rng(seed), 0.1) for seed in range(200)])
    moved = np.abs(boxes - tight_box(mask))
    assert (moved <= [4, 2, 4, 2]).all()
    assert (moved.max(axis=0) > [3.5, 1.7, 3.5, 1.7]).all()


def test_the_center_is_the_middle_of_the_box_and_may_lie_outside_of_the_object():
    ring = np.ones((9, 9), bool)
    ring[2:7, 2:7] = False
    (x, y), *_ = center(ring, NO_DRAWS, 0.0)
    assert (x, y) == (4, 4)
    assert not ring[int(y), int(x)]


@given(MASKS)
@settings(max_examples=50)
def test_the_interior_point_is_furthest_from_everything_outside(mask):
    (x, y), *_ = interior(mask, NO_DRAWS, 0.0).astype(int)
    outside = np.argwhere(~np.pad(mask, 1)) - 1
    depth = [((outside - place) ** 2).sum(axis=1).min() for place in np.argwhere(mask)]
    assert mask[y, x]
    assert ((outside - [y, x]) ** 2).sum(axis=1).min() == max(depth)


@given(MASKS, st.integers(0, 3))
def test_random_points_are_pixels_of_the_object(mask, seed):
    for kind, n in (("rand", 1), ("rands", 5)):
        points = KINDS[kind].draw(mask, np.random.default_rng(seed), 0.0).astype(int)
        assert points.shape == (n, 2)
        assert mask[points[:, 1], points[:, 0]].all()
        if mask.sum() >= n:
            assert len(np.unique(points, axis=0)) == n


def test_a_draw_depends_on_names_and_not_on_who_else_is_drawn():
    mask = np.ones((30, 40), bool)
    few, many = PromptPlan(("rand",), draws=2), PromptPlan(("bbox", "rands", "rand"), draws=4)
    alone = few.draw(mask, "a.png", "1#0")
    among = dict(zip(many.instances, many.draw(mask, "a.png", "1#0")))
    for draw in range(2):
        np.testing.assert_array_equal(alone[draw], among["rand", draw])
    assert not np.array_equal(alone[0], alone[1])
    assert not np.array_equal(alone[0], few.draw(mask, "b.png", "1#0")[0])
    assert not np.array_equal(alone[0], few.draw(mask, "a.png", "1#1")[0])
    assert not np.array_equal(
        alone[0], PromptPlan(("rand",), 2, seed=1).draw(mask, "a.png", "1#0")[0]
    )


def test_boxes_are_drawn_repeatedly_only_if_they_differ():
    assert PromptPlan(("bbox", "rand"), draws=3).instances == [
        ("bbox", 0),
        ("rand", 0),
        ("rand", 1),
        ("rand", 2),
    ]
    assert len(PromptPlan(("bbox",), draws=3, jitter=0.1).instances) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [("centre+bbox", "did you mean 'center'"), ("", "bbox"), ("rand+rand", "different")],
)
def test_faulty_prompts_are_named(text, words):
    with pytest.raises(UserError, match=words):
        parse(text)
