"""One file a detector. `tools.catalogue` finds them; nothing else needs an edit."""
