from . import (
    datasets,
    embeddings,
    metrics,
    models,
    register,
    report,
    segmentation,
    statistics,
    tasks,
    training,
)
from .auditing import AuditReport, audit, audit_segmentation

__version__: str
__all__ = [
    "AuditReport",
    "audit",
    "audit_segmentation",
    "datasets",
    "embeddings",
    "metrics",
    "models",
    "register",
    "report",
    "segmentation",
    "statistics",
    "tasks",
    "training",
]
