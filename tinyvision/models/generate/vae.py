"""VAE: an autoencoder whose codes are clouds, so that new pictures can be drawn from it.

Kingma & Welling 2014, "Auto-encoding variational Bayes"; lecture KE, "Variational autoencoders".

    encoder  x -> (mu, log sigma^2),  the cloud that the image's code may come from
    code     z = mu + sigma eps,      eps ~ N(0, 1)
    decoder  z -> x^
    loss     |x - x^|^2 / (2 variance)  +  beta KL( N(mu, sigma^2) || N(0, 1) ),  per image

**Where the noise goes.** To sample z inside the graph would cut it: a draw has no derivative. So the
draw is moved out: eps comes from outside, as data do, and z is an ordinary function of mu and sigma
(section 2.4). With respect to mu its gradient is 1, with respect to sigma eps.
"""
from __future__ import annotations

import numpy as np

from tinyvision import ops
from tinyvision.device import generator
from tinyvision.engine import Tensor, no_grad
from tinyvision.nn import Conv2d, ConvTranspose2d, Flatten, Linear, Module, ReLU, Sequential


class VAE(Module):
    """Images in [0, 1] and their codes.

    Args:
        size: of the (square) images, a multiple of 2^len(channels).
        latent: numbers in a code.
        channels: of the encoder's strided convolutions; the decoder mirrors them.
        in_channels: 3 for colour images.
        beta: the weight of the KL term (Higgins et al. 2017; 1 is the paper's bound).
        variance: of a pixel, given its code: how exact a reconstruction has to be.
    """

    def __init__(self, size=32, latent=32, channels=(32, 64, 128), in_channels=3, beta=1.0,
                 variance=0.02):
        if size % 2 ** len(channels):
            raise ValueError(f"VAE: size is {size}, expected a multiple of {2 ** len(channels)}, "
                             f"for it is halved {len(channels)} times")
        self.latent, self.beta, self.variance = latent, beta, variance
        self.image = (in_channels, size, size)
        self.corner = (channels[-1], size // 2 ** len(channels), size // 2 ** len(channels))
        down, up = [], []
        for first, here in zip((in_channels, *channels), channels):
            down += [Conv2d(first, here, 4, stride=2, padding=1), ReLU()]
            up = [ReLU(), ConvTranspose2d(here, first, 4, stride=2, padding=1), *up]
        numbers = int(np.prod(self.corner))
        self.encoder = Sequential(*down, Flatten())
        self.mu, self.log_var = Linear(numbers, latent), Linear(numbers, latent)
        self.expand = Linear(latent, numbers)
        self.decoder = Sequential(*up)

    def encode(self, x):
        """Images (N, C, H, W) to (mu, log sigma^2), each (N, latent).

        Raises:
            ValueError: the images are not of this network's size.
        """
        if tuple(x.shape[1:]) != self.image:
            raise ValueError(f"VAE: images have shape {tuple(x.shape)}, expected (N, "
                             f"{', '.join(map(str, self.image))})")
        x = self.encoder(x)                                  # (N, channels * h * w)
        return self.mu(x), self.log_var(x)

    def sample(self, mu, log_var):
        """z = mu + sigma eps (N, latent); without noise in inference mode."""
        if not self.training:
            return mu
        eps = generator().standard_normal(mu.shape).astype(mu.dtype)
        return mu + ops.exp(log_var * 0.5) * Tensor(eps)

    def decode(self, z):
        """Codes (N, latent) to images (N, C, H, W) in [0, 1]."""
        x = ops.reshape(self.expand(z), z.shape[0], *self.corner)        # (N, channels, h, w)
        return ops.sigmoid(self.decoder(x))                  # (N, C, H, W)

    def forward(self, x):
        """Images to (reconstructions, mu, log sigma^2)."""
        mu, log_var = self.encode(x)
        return self.decode(self.sample(mu, log_var)), mu, log_var

    def loss(self, images, targets=None) -> dict:
        """Named losses, means over the images: "reconstruction" and "kl" (times beta)."""
        again, mu, log_var = self(images)
        squares = ops.sum((again - images) ** 2) / (2 * self.variance)
        return {"reconstruction": squares / len(images),
                "kl": self.beta * ops.sum(gaussian_kl(mu, log_var)) / len(images)}

    def predict(self, images):
        """Reconstructions (N, C, H, W), an array, without noise."""
        mode = self.training
        with no_grad():
            again = self.eval()(images)[0].numpy()
        self.train(mode)
        return again

    def generate(self, count: int):
        """`count` new images (count, C, H, W), an array, decoded from draws of N(0, 1)."""
        z = generator().standard_normal((count, self.latent)).astype(np.float32)
        with no_grad():
            return self.decode(Tensor(z)).numpy()


def gaussian_kl(mu, log_var):
    """KL( N(mu, sigma^2) || N(0, 1) ) = 1/2 sum (mu^2 + sigma^2 - 1 - log sigma^2), (N,).

    Kingma & Welling 2014, appendix B.
    """
    return ops.sum(mu ** 2 + ops.exp(log_var) - 1 - log_var, 1) * 0.5


def vae(latent: int = 20) -> VAE:
    """For images of 64x64, four halvings."""
    return VAE(64, latent, (32, 64, 128, 256))


def tiny_vae(latent: int = 32) -> VAE:
    """For images of 32x32, three halvings of 32 to 128 channels."""
    return VAE(32, latent)
