"""How to start it elsewhere: local processes, SLURM, a TPU pod; `--dry_run` prints what would be
done.
"""
