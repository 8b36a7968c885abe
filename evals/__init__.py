"""Measurement: data readers, matched protocols, perturbations, metrics."""
