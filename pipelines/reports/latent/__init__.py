"""Latent: the latent space of a trained model, as figures on one dataset and as a page."""
