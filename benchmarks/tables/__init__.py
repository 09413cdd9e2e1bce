"""Tables of whole trainings, and what any policy of sampling and pruning would have made of them."""
