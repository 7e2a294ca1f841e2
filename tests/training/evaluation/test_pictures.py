import numpy as np
import pytest

from latentserve.service.bundle import Latent, LatentPart
from latentserve.service.sampling.latents import draw_latents
from latentserve.training.evaluation.pictures import STEPS, interpolations


def test_each_part_of_a_latent_goes_its_own_way() -> None:
    parts = [
        LatentPart(name="w", shape=[40], shift=3, scale=2),
        LatentPart(name="angle", shape=[2], prior="uniform", shift=0.5, scale=0.5),
        LatentPart(name="noise", shape=[3, 2], noise=True),
    ]
    latent = Latent(dim=48, parts=parts)
    ends = draw_latents(latent, 0, 0, 8)
    ways = interpolations(latent, 4, ends).reshape(4, STEPS, 48)
    np.testing.assert_allclose(ways[:, 0], ends[:4], atol=1e-6)
    np.testing.assert_allclose(ways[:, -1, :42], ends[4:, :42], atol=1e-5)
    lengths = np.linalg.norm(ways[:, :, :40] - 3, axis=2)
    assert lengths.min() > 0.95 * lengths[:, [0, -1]].min()  # on a line it would be less by a third
    np.testing.assert_allclose(np.diff(ways[:, :, 40:42], n=2, axis=1), 0, atol=1e-6)
    assert (ways[:, :, 42:] == ends[:4, None, 42:]).all()


def test_a_plain_latent_is_one_part() -> None:
    ends = draw_latents(Latent(dim=2), 0, 0, 2)
    ways = interpolations(Latent(dim=2), 1, ends)
    assert ways.shape == (STEPS, 2)
    assert ways[-1] == pytest.approx(ends[1], abs=1e-6)
    same = interpolations(Latent(dim=2), 1, ends[[0, 0]])
    np.testing.assert_allclose(same, np.repeat(ends[:1], STEPS, axis=0), atol=1e-6)
