"""Training: what it makes reaches the service only as files (heads, adapter, calibration)."""
