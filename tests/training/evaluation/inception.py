"""The Inception network of FID in torch, with weights drawn at random: nobody's, of the right shapes and names.

Written after the published description (Szegedy et al. 2016, and what Heusel et al. 2017 took), independently of the
graph that it is compared with; the names of its tensors are those of the files that people have.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True):
        super().__init__()
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = tuple(side // 2 if pad and stride == 1 else 0 for side in kernel)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def mean(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class A(nn.Module):
    def __init__(self, inputs: int, pooled: int):
        super().__init__()
        self.branch1x1 = Layer(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Layer(inputs, 48, 1), Layer(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Layer(inputs, 64, 1), Layer(64, 96, 3)
        self.branch3x3dbl_3 = Layer(96, 96, 3)
        self.branch_pool = Layer(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat(
            [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, self.branch_pool(mean(x))], 1
        )


class B(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.branch3x3 = Layer(inputs, 384, 3, 2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Layer(inputs, 64, 1), Layer(64, 96, 3)
        self.branch3x3dbl_3 = Layer(96, 96, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class C(nn.Module):
    def __init__(self, inputs: int, inner: int):
        super().__init__()
        wide, high = (1, 7), (7, 1)
        self.branch1x1 = Layer(inputs, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Layer(inputs, inner, 1), Layer(inner, inner, wide)
        self.branch7x7_3 = Layer(inner, 192, high)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Layer(inputs, inner, 1), Layer(inner, inner, high)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = Layer(inner, inner, wide), Layer(inner, inner, high)
        self.branch7x7dbl_5 = Layer(inner, 192, wide)
        self.branch_pool = Layer(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(mean(x))], 1)


class D(nn.Module):
    def __init__(self, inputs: int):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Layer(inputs, 192, 1), Layer(192, 320, 3, 2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Layer(inputs, 192, 1), Layer(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Layer(192, 192, (7, 1)), Layer(192, 192, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        long = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), long, F.max_pool2d(x, 3, 2)], 1)


class E(nn.Module):
    def __init__(self, inputs: int, last: bool):
        super().__init__()
        self.last = last
        self.branch1x1 = Layer(inputs, 320, 1)
        self.branch3x3_1 = Layer(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Layer(384, 384, (1, 3)), Layer(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Layer(inputs, 448, 1), Layer(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Layer(384, 384, (1, 3)), Layer(384, 384, (3, 1))
        self.branch_pool = Layer(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parts = [self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([*parts, self.branch_pool(F.max_pool2d(x, 3, 1, 1) if self.last else mean(x))], 1)


class Inception(nn.Module):
    """Pictures uint8 [n, 3, h, w] to features [n, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Layer(3, 32, 3, 2), Layer(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1 = Layer(32, 64, 3), Layer(64, 80, 1)
        self.Conv2d_4a_3x3 = Layer(80, 192, 3, pad=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = A(192, 32), A(256, 64), A(288, 64)
        self.Mixed_6a = B(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (C(768, inner) for inner in (128, 160, 160, 192))
        self.Mixed_7a, self.Mixed_7b, self.Mixed_7c = D(768), E(1280, last=False), E(2048, last=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, pictures: Tensor) -> Tensor:
        x = (resized(pictures.float(), 299) - 128) / 128
        x = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        for block in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            x = getattr(self, f"Mixed_{block}")(x)
        return x.mean((2, 3))


def resized(x: Tensor, side: int) -> Tensor:
    """Bilinear, as TensorFlow 1 has it: pixel i of the result lies at i * (old / new) of the original."""
    for axis in (2, 3):
        size = x.shape[axis]
        place = torch.arange(side, dtype=torch.float64) * size / side
        low = place.floor().long()
        high = (low + 1).clamp(max=size - 1)
        share = (place - low).float().reshape(-1, *[1] * (3 - axis))
        x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share
    return x


def random_inception(seed: int = 0) -> Inception:
    """Weights that let signals through as they are, and statistics that are no identity."""
    torch.manual_seed(seed)
    network = Inception().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
            module.weight.uniform_(0.9, 1.1)
            module.bias.normal_(0, 0.1)
    return network
