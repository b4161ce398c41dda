"""Latent: what the latent space of a trained model looks like, as figures of one dataset and as a page."""
