"""What is done to reals and fakes alike before the critic sees them: adaptive augmentation, and instance noise.

Images are altered the more often, the surer the critic is of the reals it has seen: "Training Generative Adversarial
Networks with Limited Data" (Karras et al. 2020). Reals and fakes go through the same alterations, so that only those
that cannot be undone on average leak into the generator: below a probability of about 0.8 none of these does (section
2.2). Each is differentiable in the image.

How far the critic overfits is seen in reals that it was never shown (section 3), by how much of its lead over fakes
(`latentserve.training.game.losses.lead`) is lost on them; where nothing is held out, by the reals of the batch alone.

Noise blurs less and less: "Amortised MAP Inference for Image Super-resolution" (Sønderby et al. 2017), section 3.3.1.
As long as it bridges the gaps between clusters the critic sees how much lies in each, and the generator can move some
over; what it has learnt then is made sharper as the noise goes. Noise of one strength hides all that is finer, so each
row has its own.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

TARGET = 0.6  # section 3: mean of the signs of the scores of reals, above which the critic overfits
LOST = 0.5  # share of the lead that unseen reals lose, above which it overfits: 0 is learnt, 1 is by heart (own)
EVERY = 4  # steps, section 3: from one look at unseen reals to the next
IMAGES = 500_000  # section 3: in which the probability goes from 0 to 1 at the fastest
SHARE = 0.2  # of a run's images, in which it does so where they are fewer (own; theirs are 25 million)
TRANSLATION = 1 / 8  # appendix B: of the side, the farthest that an image is moved
BRIGHTNESS = 0.2  # appendix B: standard deviation of what is added to all pixels
NOISE_RANGE = math.exp(2)  # from the weakest noise to the strongest
CONTRAST = 0.5  # appendix B: standard deviation of log2 of what all pixels are multiplied by


def adapt(probability: float, real_accuracy: float, images: int) -> float:
    """The probability of each alteration after a step on so many images.

    `real_accuracy` is the share of reals that the critic took for such, (1 + mean sign) / 2. The paper steps every
    fourth batch, this every one; the speed in images is the same.
    """
    return _moved_on(probability, 2 * real_accuracy - 1 > TARGET, images / IMAGES)


def adapt_to_unseen(probability: float, shown: float, unseen: float, images: int, budget: int) -> float:
    """The same by the leads over fakes of reals that the critic was shown, and of reals that it was not: up while more
    than LOST of the first is missing from the second, but where there is no lead to lose. `budget` is the run's."""
    return _moved_on(probability, shown - unseen > LOST * shown > 0, images / min(IMAGES, SHARE * budget))


def _moved_on(probability: float, overfits: bool, by: float) -> float:
    return min(max(probability + (by if overfits else -by), 0.0), 1.0)


class Alteration(NamedTuple):
    """What is done to each of B images [B, C, H, W], drawn once, so that it can be cut along B and be done again.

    Attributes:
        rows: int64 [B, H], where each row of pixels is taken from.
        columns: int64 [B, W], likewise.
        factor: float32 [B], what pixels are multiplied by.
        offset: float32 [B], what is added to them.
    """

    rows: Tensor
    columns: Tensor
    factor: Tensor
    offset: Tensor

    @classmethod
    def draw(cls, kinds: tuple[str, ...], probability: float, count: int, height: int, width: int) -> "Alteration":
        """Each kind is done to each image with `probability`, by chance from torch's global random state.

        Of the two ways to flip an image one leaves it as it is (appendix B): half as many are mirrored, so that at any
        probability below 1 most are as they were, and the generator learns which way round things are.
        """

        def some(kind: str, share: float = 1.0) -> Tensor:
            return (torch.rand(count) < share * probability) & (kind in kinds)

        columns = _moved(width, some("translate"))
        columns = torch.where(some("flip", 1 / 2).unsqueeze(1), width - 1 - columns, columns)
        return cls(
            rows=_moved(height, some("translate")),
            columns=columns,
            factor=torch.where(some("contrast"), torch.exp2(CONTRAST * torch.randn(count)), 1),
            offset=torch.where(some("brightness"), BRIGHTNESS * torch.randn(count), 0),
        )

    def split(self, parts: int) -> list["Alteration"]:
        """The same for `parts` equal parts of the images."""
        return [Alteration(*part) for part in zip(*(each.chunk(parts) for each in self), strict=True)]

    def to(self, device: torch.device) -> "Alteration":
        return Alteration(*(each.to(device) for each in self))

    def __call__(self, images: Tensor) -> Tensor:
        """Alter images [B, C, H, W]."""
        moved = images.gather(2, self.rows[:, None, :, None].expand_as(images))
        moved = moved.gather(3, self.columns[:, None, None, :].expand_as(images))
        return moved * self.factor.reshape(-1, 1, 1, 1) + self.offset.reshape(-1, 1, 1, 1)


def _moved(side: int, which: Tensor) -> Tensor:
    """Places int64 [B, side] that some are moved by whole pixels from; what comes in at the edge is mirrored there."""
    farthest = int(side * TRANSLATION)
    by = torch.randint(-farthest, farthest + 1, (len(which), 1)) * which.unsqueeze(1)
    place = (torch.arange(side) + by).abs()
    return torch.where(place > side - 1, 2 * (side - 1) - place, place)


def instance_noise(strongest: float, shape: tuple[int, ...]) -> Tensor:
    """Normal noise float32 [B, *], by chance from torch's global random state.

    A row's standard deviation is drawn evenly in its logarithm from a NOISE_RANGE-th of `strongest` up to it.
    """
    strength = strongest * NOISE_RANGE ** -torch.rand(shape[0], *[1] * (len(shape) - 1))
    return strength * torch.randn(shape)
