"""What a trained model's latent space looks like: states, maps, paths, anomalies."""
