"""Generator and critic of a table's codes: numbers as places in modes, and one-hot parts.

The generator does what CTGAN's does (Xu et al. 2019, Modeling Tabular Data using Conditional GAN, section 4.3): first a
category of one column is drawn, the condition, and then the row is made that goes with it. So that a row stays a
function of (z, label) alone, three things differ:

- The condition is drawn from two of z's numbers, by the shares that categories have among the rows of the label, in
  training as in serving. The paper draws by the logarithm of frequencies in training, and shows the critic reals that
  are drawn in the same way.
- The condition is put into the row, and so is the label. The paper has a cross-entropy that makes the generator obey.
- The Gumbel noise by which one entry of a one-hot part is chosen is made of numbers of z, one for each entry. The
  choice is a hard one, with the gradient of a softmax (straight through; Jang et al. 2017, Categorical
  Reparameterization with Gumbel-Softmax, section 2.2): what the critic sees is a code, always.

A generator begins with the shares that categories and modes have in the data, and with numbers scattered as widely in
their modes: it has to learn what goes with what.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentserve.training.data.transform import TableTransform
from latentserve.training.errors import ConfigError
from latentserve.training.networks.dense import Critic
from latentserve.training.networks.family import Family, hidden

TEMPERATURE = 0.5  # of the softmax that gives the gradient
CORE = 8  # numbers of z, at the least, that are neither a choice's own nor the condition's
SURE = 1e4  # added to an entry that is not left to chance
LEAST = 1e-7  # of a probability: those near 1 are not finer in float32


class Generator(nn.Module):
    """(z [B, latent], label [B] int64) -> codes [B, D] float32."""

    choice: Tensor  # of each one-hot part's padded place its entry, or one past the last, int64 [parts, widest]
    unpadded: Tensor  # padded places of the entries, int64 [entries]
    mode: Tensor  # entries that are modes with a place in them, int64 [modes]
    column: Tensor  # 1 where a mode is one of a column of numbers, float32 [modes, columns of numbers]
    order: Tensor  # where the code's numbers are among entries and places, int64 [D]
    first: Tensor  # entry at which each conditioned column begins, int64 [conditioned]
    upto: Tensor  # cumulative shares of categories, float32 [labels or 1, conditioned, widest]

    def __init__(
        self, latent: int, width: int, transform: TableTransform, shares: list[list[float]], label_at: int | None
    ) -> None:
        """
        Args:
            latent: Dimension of z. Each entry of the one-hot parts has one of it, each column of numbers, and the
                condition two.
            width: Units of a layer.
            transform: Of the table.
            shares: As `TableTransform.shares` gives them.
            label_at: The column that is the label.

        Raises:
            ConfigError: The latent is too small for the table.
        """
        super().__init__()
        self.entries = sum(coding.choices for coding in transform.codings)
        self.numbers = sum(not coding.categories for coding in transform.codings)
        if latent < (needed := least_latent(transform)):
            raise ConfigError(f"`latent`: {told(transform)}; {latent} are too few: --set latent={needed}")
        self.core = latent - self.entries - self.numbers - 2
        self._lay_out(transform)
        self._condition(transform, shares, label_at)
        said = self.entries + 2 * len(self.mode)
        self.layers = nn.Sequential(*hidden(self.core + self.entries, width, width, width), nn.Linear(width, said))
        self.common = nn.Parameter(torch.tensor(shares).clamp(min=LEAST).log())

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        core, chance, scatter, drawn = torch.split(z, [self.core, self.entries, self.numbers, 2], dim=1)
        asked = self.asked(drawn, label)
        said = self.layers(torch.cat([core, asked], dim=1))
        leaning, shift, stretch = torch.split(said, [self.entries, len(self.mode), len(self.mode)], dim=1)
        common = self.common if label is None or len(self.common) == 1 else self.common[label]
        gumbel = -torch.log(-torch.log(probability(chance)))
        entries = self.chosen(leaning + common + gumbel + SURE * asked)
        places = shift + (1 + stretch) * (scatter @ self.column.T)
        numbers = (places * entries[:, self.mode]) @ self.column
        return torch.cat([entries, numbers], dim=1)[:, self.order]

    def asked(self, drawn: Tensor, label: Tensor | None) -> Tensor:
        """The entries that are on whatever the layers say, float32 [B, entries]: the condition's, of normal numbers
        [B, 2], and the label's."""
        asked = torch.zeros(len(drawn), self.entries, device=drawn.device)
        if len(self.first):
            which, how_far = probability(drawn).unbind(dim=1)
            column = (which * len(self.first)).long()
            upto = self.upto[0 if len(self.upto) == 1 or label is None else label, column]
            category = (upto < how_far[:, None]).sum(dim=1)
            asked = asked + F.one_hot(self.first[column] + category, self.entries)
        if self.label_first is not None and label is not None:
            asked = asked + F.one_hot(self.label_first + label, self.entries)
        return asked

    def chosen(self, leanings: Tensor) -> Tensor:
        """One entry on of each one-hot part: of [B, entries] the same, zeros and ones."""
        padded = F.pad(leanings, (0, 1), value=-torch.inf)[:, self.choice.flatten()]
        padded = padded.reshape(-1, *self.choice.shape)
        on = F.one_hot(padded.argmax(dim=2), self.choice.shape[1]).to(leanings.dtype)
        if self.training:
            soft = (padded / TEMPERATURE).softmax(dim=2)
            on = on + (soft - soft.detach())
        return on.flatten(1)[:, self.unpadded]

    def _lay_out(self, transform: TableTransform) -> None:
        choice: list[list[int]] = []
        mode: list[int] = []
        column: list[list[float]] = []
        order: list[int] = []
        widest = max(coding.choices for coding in transform.codings)
        first = number = 0
        for coding in transform.codings:
            stop = first + coding.choices
            choice.append([*range(first, stop), *[self.entries] * (widest - coding.choices)])
            if not coding.categories:
                modes = range(first + coding.points, first + len(coding.means))
                mode += modes
                column += [[float(at == number) for at in range(self.numbers)]] * len(modes)
                order.append(self.entries + number)
                number += 1
            order += range(first, stop)
            first = stop
        unpadded = [place for place, entry in enumerate(itertools.chain(*choice)) if entry < self.entries]
        self.register_buffer("choice", torch.tensor(choice), persistent=False)
        self.register_buffer("unpadded", torch.tensor(unpadded), persistent=False)
        self.register_buffer("mode", torch.tensor(mode, dtype=torch.int64), persistent=False)
        self.register_buffer("column", torch.tensor(column).reshape(len(mode), self.numbers), persistent=False)
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def _condition(self, transform: TableTransform, shares: list[list[float]], label_at: int | None) -> None:
        firsts = list(itertools.accumulate((coding.choices for coding in transform.codings), initial=0))
        counts = [coding.categories for coding in transform.codings]
        self.label_first = None if label_at is None else firsts[label_at]
        asked = [at for at, count in enumerate(counts) if count > 1 and at != label_at]
        upto = torch.ones(len(shares), len(asked), max((counts[at] for at in asked), default=1), dtype=torch.float64)
        for place, at in enumerate(asked):
            own = torch.tensor(shares, dtype=torch.float64)[:, firsts[at] : firsts[at + 1]]
            upto[:, place, : counts[at]] = own.cumsum(dim=1)
        self.register_buffer("first", torch.tensor([firsts[at] for at in asked], dtype=torch.int64), persistent=False)
        self.register_buffer("upto", upto.masked_fill(upto > 1 - LEAST, 1).float(), persistent=False)


def least_latent(transform: TableTransform) -> int:
    """The least dimension of z that a table's generator does with."""
    return sum(coding.choices + (not coding.categories) for coding in transform.codings) + 2 + CORE


def told(transform: TableTransform) -> str:
    """What of a table has numbers of z of its own, in words."""
    entries = sum(coding.choices for coding in transform.codings)
    numbers = sum(not coding.categories for coding in transform.codings)
    return (
        f"this table has {entries} categories and modes and {numbers} columns of numbers, each with a number of the "
        "latent of its own"
    )


def probability(normal: Tensor) -> Tensor:
    """How likely a standard normal number is to be less than each, in (0, 1): evenly distributed if they are normal."""
    return torch.special.ndtr(normal).clamp(LEAST, 1 - LEAST)


FAMILY = Family(Generator, Critic, ("table",))
