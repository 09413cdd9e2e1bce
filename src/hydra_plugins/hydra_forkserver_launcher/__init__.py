"""A launcher whose processes start with the application's imports already done."""
