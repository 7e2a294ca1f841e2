"""Run where Keras 3 is, on torch: export what it builds, and write the samples that it gives itself.

python keras_rows.py dcgan|cgan FOLDER
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from keras import layers

from latentserve.service.sampling.latents import draw_latents
from latentserve.training.export import export_bundle

SEED, ROWS, LATENT, CLASSES = 3, 16, 24, 5


def upsampled(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    x = layers.Conv2DTranspose(channels, 4, strides=2, padding="same", use_bias=False)(x)
    return layers.LeakyReLU(0.2)(layers.BatchNormalization()(x))


def dcgan() -> keras.Model:
    """As in Keras' own example: NHWC, tanh."""
    z = keras.Input((LATENT,))
    x = layers.Reshape((4, 4, 16))(layers.Dense(4 * 4 * 16)(z))
    x = upsampled(upsampled(x, 16), 8)
    return keras.Model(z, layers.Conv2D(3, 5, padding="same", activation="tanh")(x))


def cgan() -> keras.Model:
    """Its latent and an embedded label, each a tensor of its own; a sigmoid at the end."""
    z, label = keras.Input((LATENT,)), keras.Input((1,), dtype="int32")
    one_hot = layers.Flatten()(layers.Embedding(CLASSES, 8)(label))
    x = layers.Reshape((4, 4, 16))(layers.Dense(4 * 4 * 16)(layers.Concatenate()([z, one_hot])))
    return keras.Model([z, label], layers.Conv2D(1, 5, padding="same", activation="sigmoid")(upsampled(x, 8)))


def main(kind: str, out: Path) -> None:
    keras.utils.set_random_seed(0)
    if kind == "dcgan":
        model = dcgan()
        manifest = export_bundle(model, out / "bundle", name="dcgan", latent_dim=LATENT, reference_samples=600)
    else:
        model = cgan()
        names = [f"class {at}" for at in range(CLASSES)]
        manifest = export_bundle(
            model, out / "bundle", name="cgan", latent_dim=LATENT, labels=names, reference_samples=600
        )
    z = torch.from_numpy(draw_latents(manifest.latent, SEED, 0, ROWS))
    with torch.no_grad():
        label = torch.full((ROWS, 1), 2)
        samples = model(z) if kind == "dcgan" else model([z, label])
    np.save(out / "samples.npy", samples.numpy().transpose(0, 3, 1, 2))


main(sys.argv[1], Path(sys.argv[2]))
