"""The life of a model: trained, evaluated, promoted, recorded, every day anew."""
