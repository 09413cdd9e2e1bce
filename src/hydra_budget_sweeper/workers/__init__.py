"""The processes that take trials from the study and run them."""
