"""The floor: pixels in, Evidence out. Nothing here knows of graphs, HTTP, databases or settings."""
