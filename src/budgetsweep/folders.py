"""The files in the folder of a run and in that of a sweep, by name."""

# a run's
CONFIG = ".hydra/config.yaml"
METRICS = "metrics.csv"
CHECKPOINT = "checkpoint.pt"
MODEL = "model.pt"
SUMMARY = "summary.json"
# a sweep's
LEADERBOARD = "leaderboard.json"
SWEEP = "sweep.json"
STUDY = "study.journal"
REPLICATION = "replicate/replication.json"
FORMAT = "number_format.json"  # how all runs below it compute
IMAGES = "images.json"  # what folders of images held for all runs below it
