"""What is searched, and which of it fits."""
