"""FS-VAE: a sequential music recommender with a slow and a fast clock (Fazelnia et al., WSDM 2022)."""
