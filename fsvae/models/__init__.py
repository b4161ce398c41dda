"""The FS-VAE model: encoders, latent, decoder, losses, and its Lightning module."""
