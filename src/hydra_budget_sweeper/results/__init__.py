"""What a sweep folder tells."""
