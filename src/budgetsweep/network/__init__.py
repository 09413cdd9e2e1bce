"""The network: built from rows (`factory`), counted (`cost`), held against its `budget`."""
