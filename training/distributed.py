"""Several processes, ranks, that train one pair of networks: each takes its share of the rows of every batch.

All ranks start from the same weights, draw the same chance for the whole batch and keep their own rows of it, and step
along the sum of their gradients: together they go the way of one process with the whole batch, up to rounding. The
gradients are added up by hand once `backward` is through. DistributedDataParallel would do it within, where the
gradients of gradient penalties are not waited for.

`torchrun --nproc-per-node N --no-python latentserve train ...` starts them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from latentserve.training.errors import ConfigError, LostRankError, RunError
from latentserve.training.launching import place
from latentserve.training.recipe.config import Config

TIMEOUT = timedelta(minutes=10)  # that a rank waits for the others, while the first of them saves, for example


@dataclass(frozen=True)
class Ranks:
    """The processes of a run as one of them sees them. A run in one process has the first rank alone.

    Attributes:
        rank: this one's place among them, from 0.
        count: how many there are.
        local: its place among those of its machine: which GPU is its own.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes and tells; the others only compute."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        return torch.device("cuda", self.local) if torch.cuda.is_available() else torch.device("cpu")

    def share(self, batch: Tensor) -> Tensor:
        """This rank's rows of a whole batch [B, ...], [B/count, ...]."""
        return batch.chunk(self.count)[self.rank]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over ranks, the same bits on all of them, in one message.

        They are of one type and one device. Raises LostRankError where another rank does not answer.
        """
        if self.count == 1 or not tensors:
            return
        message = torch.cat([tensor.reshape(-1) for tensor in tensors])
        try:
            dist.all_reduce(message)
        except RuntimeError as error:
            raise LostRankError(
                f"another of the {self.count} ranks died, or did not answer for {TIMEOUT}: {_first_line(error)}"
            ) from None
        for tensor, part in zip(tensors, torch.split(message, [one.numel() for one in tensors]), strict=True):
            tensor.copy_(part.reshape(tensor.shape))

    def mean(self, value: float) -> float:
        """Mean over ranks."""
        if self.count == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64)
        self.add_up([total])
        return total.item() / self.count

    def any(self, wish: bool) -> bool:
        """Whether any rank wishes it."""
        return wish if self.count == 1 else self.mean(wish) > 0

    def require_memory(self, lacking: bool, device: torch.device) -> None:
        """See that no rank lacks memory on its device. Raises torch.OutOfMemoryError on all of them where one does."""
        # Only a GPU says so; elsewhere ranks need not ask each other.
        if self.any(lacking) if self.count > 1 and device.type == "cuda" else lacking:
            raise torch.OutOfMemoryError("a part of the batch does not fit")

    def wait(self) -> None:
        """Until all ranks have come here."""
        self.any(False)

    def told(self, message: bytes) -> bytes:
        """What the rank that leads says to all; the others' messages are not heard."""
        if self.count == 1:
            return message
        length = torch.tensor([len(message) if self.leads else 0])
        self.add_up([length])
        said = torch.zeros(int(length), dtype=torch.uint8)
        if self.leads:
            said = torch.frombuffer(bytearray(message), dtype=torch.uint8)
        self.add_up([said])
        return bytes(said.numpy())

    def require_equal(self, content: Iterable[bytes | memoryview], otherwise: str) -> None:
        """See that all ranks hold the same. Raises RunError on all of them, with the rank put into the message."""
        if self.count == 1:
            return
        digest = hashlib.sha256()
        for some in content:
            digest.update(some)
        digests = torch.zeros(self.count, digest.digest_size, dtype=torch.uint8)
        digests[self.rank] = torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
        self.add_up([digests])
        other = (digests != digests[0]).any(1).nonzero().flatten().tolist()
        if other:
            raise RunError(f"{otherwise.format(other[0])} than rank 0")

    @torch.no_grad()
    def average_statistics(self, network: nn.Module) -> None:
        """Batch normalisation sees a rank's rows alone; what it remembers of them becomes the mean over ranks."""
        if self.count == 1:
            return
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        kept = [each for norm in norms for each in (norm.running_mean, norm.running_var) if each is not None]
        self.add_up(kept)
        for each in kept:
            each.div_(self.count)


@contextmanager
def joined(config: Config) -> Iterator[Ranks]:
    """Within the block, this process and those that `torchrun` started with it are the ranks of one run.

    Raises:
        ConfigError: Their number, or the machine, does not fit the configuration.
        LostRankError: They did not find one another.
    """
    ranks = Ranks(*place())
    count = ranks.count
    if count == 1:
        yield Ranks()
        return
    try:
        config.require_ranks(count)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if torch.cuda.is_available():
        if ranks.local >= torch.cuda.device_count():
            raise ConfigError(f"--nproc-per-node: there are {torch.cuda.device_count()} GPUs here, one for each rank")
        torch.cuda.set_device(ranks.device)
    try:
        dist.init_process_group(timeout=TIMEOUT)  # gloo for what lies in memory, and nccl for what is on GPUs
    except (RuntimeError, ValueError) as error:
        raise LostRankError(f"the {count} ranks did not find one another: {_first_line(error)}") from None
    yield ranks
    dist.destroy_process_group()  # not after an error: it could wait for ranks that are gone


def require_hardware(config: Config) -> None:
    """See that this machine has what the configuration asks for, and can make good use of it.

    Measured on an EPYC with avx512_bf16, in CPU time of a whole step against float32 (docs/training.md): bf16 is 1.5
    times as fast for `mnist`, with and without R1 + R2, and 1.1 times for `digits`. torch.compile is 0.9 times as fast
    for `mnist`, after ten seconds of compiling.

    Raises ConfigError naming the field.
    """
    if config.precision == "bf16" and not has_bf16():
        instead = "; fp16 is for such GPUs" if torch.cuda.is_available() else ""
        raise ConfigError(
            f"`precision`: this machine computes nothing in bfloat16; emulated, it would be slower{instead}"
        )
    if config.precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("`precision`: fp16 is for GPUs without bfloat16; on a CPU it is slower than float32")
    if config.compile and not torch.cuda.is_available():
        raise ConfigError("`compile`: torch.compile pays on a GPU alone; on a CPU it was slower than without")


def has_bf16() -> bool:
    if torch.cuda.is_available():
        there: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return there
    return any(there for name, there in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
