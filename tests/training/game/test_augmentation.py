import math

import pytest
import torch

from latentserve.training.game.augmentation import IMAGES, Alteration, adapt, adapt_to_unseen, instance_noise


def test_the_probability_follows_how_sure_the_critic_is() -> None:
    """Above a mean sign of 0.6, which is 80 % of reals, it rises; it stays a probability."""
    assert adapt(0.5, 0.81, 500) == pytest.approx(0.5 + 500 / IMAGES)
    assert adapt(0.5, 0.79, 500) == pytest.approx(0.5 - 500 / IMAGES)
    assert adapt(0.0, 0.5, 500) == 0
    assert adapt(1.0, 1.0, 500) == 1


@pytest.mark.parametrize(
    ("shown", "unseen", "up"),
    [(0.9, 0.8, False), (0.9, 0.3, True), (0.9, -0.2, True), (0.0, 0.0, False), (-0.1, -0.9, False)],
)
def test_with_held_out_reals_it_follows_the_lead_that_they_lose(shown: float, unseen: float, up: bool) -> None:
    """Up where more than half of it is gone, but where there is none."""
    step = 500 if up else -500
    assert adapt_to_unseen(0.5, shown, unseen, 500, 10 * IMAGES) == pytest.approx(0.5 + step / IMAGES)
    short = adapt_to_unseen(0.5, shown, unseen, 500, 100_000)  # which is to get there, too
    assert short == pytest.approx(0.5 + step / 20_000)


def test_a_probability_of_0_leaves_images_alone() -> None:
    images = torch.randn(16, 3, 8, 8)
    alteration = Alteration.draw(("flip", "translate", "brightness", "contrast"), 0.0, 16, 8, 8)
    assert torch.equal(alteration(images), images)


def test_only_the_kinds_that_are_asked_for_happen() -> None:
    images = torch.randn(64, 1, 4, 6)
    flipped = Alteration.draw(("flip",), 1.0, 64, 4, 6)(images)
    mirrored = (flipped == images.flip(3)).flatten(1).all(dim=1)
    assert 16 < mirrored.sum() < 48
    assert torch.equal(flipped[~mirrored], images[~mirrored])
    brighter = Alteration.draw(("brightness",), 1.0, 64, 4, 6)(images) - images
    assert brighter.reshape(64, -1).std(dim=1).max() < 1e-6
    assert brighter.std() > 0.1
    ratio = Alteration.draw(("contrast",), 1.0, 64, 4, 6)(images) / images
    assert (ratio.reshape(64, -1).std(dim=1) / ratio.reshape(64, -1).mean(dim=1)).max() < 1e-5
    assert ratio.min() > 0


def test_translations_move_by_whole_pixels_and_mirror_at_the_edge() -> None:
    images = torch.arange(64.0).reshape(1, 1, 8, 8).expand(200, 1, 8, 8)
    moved = Alteration.draw(("translate",), 1.0, 200, 8, 8)(images)
    place = torch.arange(8)
    mirrored = {
        by: torch.where((place + by).abs() > 7, 14 - (place + by).abs(), (place + by).abs()) for by in (-1, 0, 1)
    }
    possible = {
        tuple(images[0, 0][mirrored[down]][:, mirrored[right]].flatten().tolist())
        for down in mirrored
        for right in mirrored
    }
    assert {tuple(image.flatten().tolist()) for image in moved} == possible


@pytest.mark.parametrize(("kind", "share"), [("brightness", 0.3), ("flip", 0.15)])
def test_a_share_of_the_images_is_altered(kind: str, share: float) -> None:
    """Of flips half as many: one of its two ways leaves an image as it is."""
    images = torch.randn(4000, 1, 2, 2)
    altered = Alteration.draw((kind,), 0.3, 4000, 2, 2)(images) != images
    assert altered.flatten(1).any(dim=1).double().mean().item() == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("probability", [0.5, 0.8, 0.99])
def test_flips_leave_most_as_they_were(probability: float) -> None:
    """So the generator learns which way round things are: a mixture of both by halves would look the same mirrored."""
    images = torch.tensor([0.0, 1.0]).expand(20_000, 1, 1, 2)
    seen = Alteration.draw(("flip",), probability, 20_000, 1, 2)(images)
    assert seen[:, 0, 0, 1].mean().item() == pytest.approx(1 - probability / 2, abs=0.02)


def test_cut_alterations_are_the_whole_ones() -> None:
    images = torch.randn(12, 3, 8, 8)
    whole = Alteration.draw(("flip", "translate", "brightness", "contrast"), 0.7, 12, 8, 8)
    parts = [part(rows) for part, rows in zip(whole.split(3), images.chunk(3), strict=True)]
    assert torch.equal(torch.cat(parts), whole(images))


def test_the_gradient_is_the_numerical_one() -> None:
    alteration = Alteration.draw(("flip", "translate", "brightness", "contrast"), 0.9, 3, 8, 8)
    double = Alteration(alteration.rows, alteration.columns, alteration.factor.double(), alteration.offset.double())
    images = torch.randn(3, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(double, (images,))


def test_strength_is_spread_evenly_over_its_logarithm() -> None:
    torch.manual_seed(0)
    drawn = instance_noise(3.0, (20_000, 64))
    strength = drawn.square().mean(dim=1).sqrt()
    logarithm = (strength / 3.0).log()
    assert logarithm.mean() == pytest.approx(-1, abs=0.02)
    assert logarithm.std() == pytest.approx(2 / math.sqrt(12), rel=0.05)
    assert abs(drawn.mean()) < 0.01


def test_a_row_has_one_strength_and_rows_have_others() -> None:
    torch.manual_seed(0)
    images = instance_noise(1.0, (100, 3, 32, 32))
    assert images.shape == (100, 3, 32, 32)
    by_channel = images.square().mean(dim=(2, 3)).sqrt()
    assert (by_channel.std(dim=1) / by_channel.mean(dim=1)).max() < 0.1
    assert by_channel.mean(dim=1).std() > 0.1
