"""A trained classifier of the user's: read from its file or function, and put behind the project's one contract."""

from xray_debug.models.own.loading import OwnModel, check_settings, load_own, opened

__all__ = ["OwnModel", "check_settings", "load_own", "opened"]
