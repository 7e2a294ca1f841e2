"""Run where the package `diffusers` is: export the decoder of an autoencoder with random weights, and write the samples
that it gives itself.

    python diffusers_rows.py tiny|kl FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from latentserve.service.sampling.latents import draw_latents
from latentserve.training.export import export_bundle

SEED, ROWS, SIDE = 3, 16, 4


def tiny() -> AutoencoderTiny:
    blocks = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    return AutoencoderTiny(**blocks, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), latent_channels=4)


def kl() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
    )


def main(kind: str, out: Path) -> None:
    torch.manual_seed(0)
    model = {"tiny": tiny, "kl": kl}[kind]().eval()
    manifest = export_bundle(
        model,
        out / "bundle",
        name=kind,
        latent_shape=[4, SIDE, SIDE],
        call="decode",
        output="sample",
        value_range=(-1.0, 1.0),
        reference_samples=600,
    )
    z = torch.from_numpy(draw_latents(manifest.latent, SEED, 0, ROWS)).reshape(ROWS, 4, SIDE, SIDE)
    with torch.no_grad():
        np.save(out / "samples.npy", model.decode(z).sample.numpy())


main(sys.argv[1], Path(sys.argv[2]))
