"""Values that change over a run, as functions of the images seen."""

import math

from latentserve.training.recipe.config import Cosine


def cosine(schedule: Cosine, images_seen: int, images: int) -> float:
    """From `start` to `end` along half a cosine (Loshchilov & Hutter 2017, equation 5), over all of `images` images or
    the part of them that the schedule names."""
    progress = (images_seen / images - schedule.since) / (schedule.until - schedule.since)
    progress = min(max(progress, 0.0), 1.0)
    return schedule.end + (schedule.start - schedule.end) * 0.5 * (1 + math.cos(math.pi * progress))


def ema_decay(half_life: float, batch: int) -> float:
    """Share of the average kept in a step of `batch` images, so that half of it is left after `half_life` images."""
    return 0.5 ** (batch / half_life) if half_life > 0 else 0.0
