"""A trained network as files for use elsewhere, each checked against PyTorch."""
