"""FS-VAE beside RecTools and RecBole on the same listens, cuts and test positions."""
