"""Generation: images from codes."""
from tinyvision.models.generate.vae import VAE, gaussian_kl, tiny_vae, vae
