from .classification import audit
from .report import AuditReport
from .segmentation import audit_segmentation

__all__ = ["AuditReport", "audit", "audit_segmentation"]
