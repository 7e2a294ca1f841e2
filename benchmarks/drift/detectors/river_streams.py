"""River's detectors on streams; runs in an environment of its own: river_streams.py STREAMS.npz ALARMS.npz.

Each detector's threshold is set so that its mean run length on the streams without drift is the one asked for, its
other parameters are at their defaults. KSWIN draws its windows by a seed of the stream's.
"""

import sys

import numpy as np
from river.drift import ADWIN, KSWIN, PageHinkley

NEVER = np.iinfo(np.int64).max
STEPS = 7  # of a bisection


def first_alarms(make, streams):
    found = np.full(len(streams), NEVER)
    for stream, values in enumerate(streams.tolist()):
        detector = make()
        for row, value in enumerate(values, start=1):
            detector.update(value)
            if detector.drift_detected:
                found[stream] = row
                break
    return found


def run_length(found, rows):
    return np.minimum(found, rows).sum() / max(1, (found <= rows).sum())


def calibrated(make, null, wanted, quiet, loud):
    """The setting between a quiet and a loud one, on a log scale, with the wanted run length; and its alarms."""
    for _ in range(STEPS):
        middle = np.sqrt(quiet * loud)
        found = first_alarms(lambda: make(middle), null)  # noqa: B023, called at once
        if run_length(found, null.shape[1]) > wanted:
            quiet = middle
        else:
            loud = middle
    return middle, found


def p_values(streams, least):
    """KSWIN's p-value at each row; a stream ends where one is below `least`."""
    rows = np.ones(streams.shape)
    for stream, values in enumerate(streams.tolist()):
        detector = KSWIN(alpha=0, seed=stream)
        for row, value in enumerate(values):
            detector.update(value)
            if row >= detector.window_size - 1:
                rows[stream, row] = detector.p_value
                if detector.p_value <= least:
                    break
    return rows


def below(p, alpha):
    hit = p <= alpha
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, NEVER)


def main():
    given = np.load(sys.argv[1])
    shifts = [name for name in given.files if name.startswith("shift")]
    out = {}
    for name, make, quiet, loud in (
        ("ADWIN", lambda delta: ADWIN(delta=delta), 1e-6, 0.9),
        ("PageHinkley", lambda threshold: PageHinkley(threshold=threshold), 200.0, 5.0),
    ):
        setting, out[f"{name} null"] = calibrated(make, given["null"], 1e4, quiet, loud)
        out[f"{name} setting"] = setting
        for shift in shifts:
            out[f"{name} {shift}"] = first_alarms(lambda: make(setting), given[shift])  # noqa: B023
    short = given["null short"]
    p = p_values(short, 0.0)
    # The p-values of two windows of 30 are few; of the run lengths they allow, the nearest.
    levels = np.unique(p[p < 0.05])
    alpha = min(levels, key=lambda level: abs(np.log(run_length(below(p, level), short.shape[1]) / 1e3)))
    out["KSWIN setting"], out["KSWIN null"] = alpha, below(p, alpha)
    for shift in (name for name in given.files if name.startswith("short shift")):
        out[f"KSWIN {shift.removeprefix('short ')}"] = below(p_values(given[shift], alpha), alpha)
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
