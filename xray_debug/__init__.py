"""xray-debug: is a chest X-ray classifier right for the wrong reason?"""

__all__ = ["audit_model"]
__version__ = "0.1.0"


def __getattr__(name: str):
    """Public names are imported when they are asked for."""
    if name == "audit_model":
        from importlib import import_module  # not seen by fingerprints: every stage imports this file

        return import_module("xray_debug.stages.audit_model").audit_model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
