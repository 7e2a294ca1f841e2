"""Runs that become longer than they were planned: what comes of their configuration, and of each schedule."""

from collections.abc import Iterator

from latentserve.training.recipe import first_difference
from latentserve.training.recipe.config import Config, Cosine, Grown


def continued(old: Config, new: Config, images_seen: int) -> tuple[Config | None, str | None]:
    """The configuration by which a run goes on that was begun by `old` and is asked to be `new`: with more `images`, it
    remembers the budgets before. Or why it cannot, in a line, with None."""
    if new.grown not in ((), old.grown):
        return None, "`grown` is another run's"
    if new.images < old.images:
        return None, f"`images` is {old.images}, not {new.images}: a run can be made longer, and not shorter"
    longer = new.images > old.images and images_seen > 0
    grown = (*old.grown, Grown(at=images_seen, images=old.images)) if longer else old.grown
    new = new.model_copy(update={"grown": grown})
    difference = first_difference(old.model_copy(update={"images": new.images, "grown": grown}), new)
    return (None, difference) if difference else (new, None)


def changes(config: Config) -> Iterator[str]:
    """What becomes of the schedules of a run that was made longer, in lines."""
    last = config.grown[-1]
    yield f"{config.images:,} images instead of {last.images:,}, from {last.at:,} on"
    constant = []
    for name, schedule in _schedules(config):
        if schedule.start == schedule.end:
            constant.append(name)
        else:
            yield f"{name} {_course(schedule, config, last)}"
    if constant:
        yield f"{', '.join(constant)}: constant"


def _course(schedule: Cosine, config: Config, last: Grown) -> str:
    """Of one schedule that moves."""
    now = schedule.at(last.at, last.images, config.grown[:-1])
    if now == schedule.end:
        return f"has come to its end, and stays {schedule.end:g}"
    begin, end = schedule.since * config.images, schedule.until * config.images
    whole = f"until {end:,.0f} images instead of {schedule.until * last.images:,.0f}"
    waits = f"after {begin:,.0f} images " if begin > last.at else ""
    return f"goes on {waits}from {now:.4g} to {schedule.end:g}, {whole}"


def _schedules(config: Config) -> Iterator[tuple[str, Cosine]]:
    for prefix, fields in (("", config), ("critic.", config.critic)):
        yield from ((prefix + name, value) for name, value in fields if isinstance(value, Cosine))
