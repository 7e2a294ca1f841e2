"""Objects laid out as the package `ctgan` lays out CTGAN and TVAE: real networks with random weights, and real fitted
mixtures. That theirs are laid out so, and sample so, is shown with the package itself in the long form."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.mixture import BayesianGaussianMixture
from torch import Tensor, nn

EMBEDDING = 6


class Span(NamedTuple):
    dim: int
    activation_fn: str


class Info(NamedTuple):
    column_name: Any
    column_type: str
    transform: Any
    output_info: list[Span]
    output_dimensions: int


class Residual(nn.Module):
    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.fc, self.bn, self.relu = nn.Linear(inputs, units), nn.BatchNorm1d(units), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.relu(self.bn(self.fc(x))), x], dim=1)


class Decoder(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))
        self.sigma = nn.Parameter(torch.rand(outputs) * 0.3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.seq(x), self.sigma


class Sampler(SimpleNamespace):
    """`counts`: rows of each category, of each discrete column."""

    def __init__(self, counts: Sequence[Sequence[int]]) -> None:
        widths = [len(of) for of in counts]
        shares = np.zeros((len(counts), max(widths, default=0)))
        for row, of in zip(shares, counts, strict=True):
            logs = np.log(np.array(of) + 1)
            row[: len(of)] = logs / logs.sum()
        super().__init__(
            _n_categories=sum(widths),
            _discrete_column_category_prob=shares,
            _discrete_column_cond_st=np.cumsum([0, *widths])[:-1],
            _rid_by_cat_cols=[[np.arange(count) for count in of] for of in counts],
        )


class CTGAN(SimpleNamespace):
    pass


class TVAE(SimpleNamespace):
    pass


def number(name: Any, values: NDArray[np.float64], **scheme: Any) -> Info:
    """A column of numbers with modes fitted to values."""
    mixture = BayesianGaussianMixture(n_components=4, weight_concentration_prior=1e-3, random_state=0).fit(
        values.reshape(-1, 1)
    )
    valid = mixture.weights_ > 0.005
    transform = SimpleNamespace(_bgm_transformer=mixture, valid_component_indicator=valid, STD_MULTIPLIER=4, **scheme)
    spans = [Span(1, "tanh"), Span(int(valid.sum()), "softmax")]
    return Info(name, "continuous", transform, spans, 1 + spans[1].dim)


def category(name: Any, values: list[Any]) -> Info:
    """A column of categories."""
    return Info(name, "discrete", SimpleNamespace(dummies=values), [Span(len(values), "softmax")], len(values))


def transformer(infos: list[Info], types: dict[Any, str]) -> SimpleNamespace:
    """Of these columns, and the types that they had in the data."""
    return SimpleNamespace(
        output_info_list=[info.output_info for info in infos],
        _column_transform_info_list=infos,
        _column_raw_dtypes=types,
        dataframe=True,
    )


def ctgan(infos: list[Info], types: dict[Any, str]) -> CTGAN:
    """With batch statistics that have not settled."""
    torch.manual_seed(0)
    discrete = [info.output_dimensions for info in infos if info.column_type == "discrete"]
    width = EMBEDDING + sum(discrete)
    outputs = sum(info.output_dimensions for info in infos)
    generator = nn.Sequential(Residual(width, 8), Residual(width + 8, 8), nn.Linear(width + 16, outputs))
    for _ in range(5):
        generator(torch.randn(100, width))
    return CTGAN(
        _embedding_dim=EMBEDDING,
        _batch_size=500,
        _generator=generator,
        _transformer=transformer(infos, types),
        _data_sampler=Sampler([[10 * (at + 1) ** 2 for at in range(count)] for count in discrete]),
    )


def tvae(infos: list[Info], types: dict[Any, str]) -> TVAE:
    torch.manual_seed(0)
    decoder = Decoder(EMBEDDING, sum(info.output_dimensions for info in infos))
    return TVAE(embedding_dim=EMBEDDING, decoder=decoder, transformer=transformer(infos, types))


def people() -> tuple[list[Info], dict[Any, str]]:
    """A table with a column of each kind."""
    numbers = np.random.default_rng(0)
    ages = np.concatenate([numbers.normal(25, 3, 300), numbers.normal(60, 8, 300)])
    infos = [
        category("school", ["some", "none", np.nan, "much"]),
        number("age", ages),
        number("income", numbers.lognormal(8, 1, 600)),
        category("rich", [np.False_, np.True_]),
        number("share", numbers.uniform(0, 1, 600), learn_rounding_scheme=True, _rounding_digits=2)._replace(),
        category("rooms", [np.int64(3), np.int64(1), np.int64(2)]),
    ]
    bounds = {"enforce_min_max_values": True, "_min_value": 0.1, "_max_value": 0.9}
    infos[4].transform.__dict__.update(bounds)
    types = {"school": "object", "age": "int64", "income": "float64", "rich": "bool", "share": "float64"}
    return infos, types | {"rooms": "int32"}
