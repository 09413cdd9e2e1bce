def objective(x: float) -> float:
    return float(x) ** 2
