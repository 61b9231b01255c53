"""PyTorch's import path of anomaly detection."""
from .anomaly import detect_anomaly, set_detect_anomaly

__all__ = ['detect_anomaly', 'set_detect_anomaly']
