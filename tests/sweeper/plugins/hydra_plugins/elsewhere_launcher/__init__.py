"""Stands for the launcher of a cluster whose machines do not share the folder."""
