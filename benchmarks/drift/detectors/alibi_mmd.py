"""alibi-detect's online MMD on streams; runs in an environment of its own: alibi_mmd.py STREAMS.npz ALARMS.npz.

The detector is made and its thresholds are configured by alibi-detect. Its statistic is then computed for all rows of a
stream at once, which is the same as row by row (checked on the first rows) and takes minutes instead of hours.
"""

import sys

import numpy as np
import torch
from alibi_detect.cd import MMDDriftOnline

NEVER = np.iinfo(np.int64).max
CHECKED = 60


def statistics(detector, stream):
    """The statistic after each row of float32 [rows, d]."""
    size = detector.window_size
    rows = torch.cat([detector.x_ref[detector.init_test_inds], torch.from_numpy(stream)])
    across = detector.kernel(detector.x_ref[detector.ref_inds], rows).mean(0).double()
    within = detector.kernel(rows, rows).double().fill_diagonal_(0)
    area = torch.zeros(len(rows) + 1, len(rows) + 1, dtype=torch.float64)
    area[1:, 1:] = within.cumsum(0).cumsum(1)
    line = torch.cat([torch.zeros(1, dtype=torch.float64), across.cumsum(0)])
    end = torch.arange(size + 1, len(rows) + 1)
    begin = end - size
    square = area[end, end] - area[begin, end] - area[end, begin] + area[begin, begin]
    mean = (line[end] - line[begin]) / size
    return (float(detector.k_xx_sub_sum) + square / (size * (size - 1)) - 2 * mean).numpy()


def first_alarms(detector, streams):
    found = np.full(len(streams), NEVER)
    for index, stream in enumerate(streams):
        thresholds = np.array([detector.get_threshold(t) for t in range(1, len(stream) + 1)])
        over = statistics(detector, stream) > thresholds
        if over.any():
            found[index] = over.argmax() + 1
    return found


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given = np.load(sys.argv[1])
    streams = [name for name in given.files if name not in ("reference", "windows", "bootstraps")]
    out = {}
    for window in given["windows"].tolist():
        detector = MMDDriftOnline(
            given["reference"],
            ert=1000,
            window_size=window,
            backend="pytorch",
            n_bootstraps=int(given["bootstraps"]),
            device="cpu",
            verbose=False,
        )._detector
        stream = given["null"][0]
        one_by_one = np.array([detector.score(row) for row in stream[:CHECKED]])
        assert np.allclose(one_by_one, statistics(detector, stream)[:CHECKED], atol=1e-5)
        for name in streams:
            out[f"{window} {name}"] = first_alarms(detector, given[name])
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
