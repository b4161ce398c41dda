"""The latent space of a trained model: states, maps, paths, anomalies."""
