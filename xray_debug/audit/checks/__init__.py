"""The checks of the audit: one class each, that adds frames to a case, columns to its row, questions to the verdict."""

# checks are made, and spoken of in the verdict, in the order of these lines
# isort: off
from xray_debug.audit.checks import text
from xray_debug.audit.checks import absence
from xray_debug.audit.checks import devices
from xray_debug.audit.checks import border
from xray_debug.audit.checks import field
from xray_debug.audit.checks import regions
from xray_debug.audit.checks import look
from xray_debug.audit.checks import laterality
from xray_debug.audit.checks import source
from xray_debug.audit.checks import properties
from xray_debug.audit.checks import attributes

# isort: on
from xray_debug.audit.checks.base import CHECKS, Check, CheckError, blamed, per_class
from xray_debug.audit.checks.region import RegionCheck

__all__ = ["CHECKS", "Check", "CheckError", "RegionCheck", "absence", "all_checks", "attributes", "blamed", "border",
           "devices", "field", "foreign_checks", "laterality", "look", "per_class", "properties", "regions", "source",
           "text"]


def all_checks(config) -> list[Check]:
    """Every registered check, made for these options, in the order of the registry.

    ValueError where two checks, or a check and the user's regions, share the name of a region, or where another
    package's is no check.
    """
    found, taken = [], set()
    for name in CHECKS:
        check = _made(name, config)
        shared = taken & set(getattr(check, "regions", ()))
        if shared:
            raise ValueError(f"check {name!r}: expected another name than {sorted(shared)[0]!r} for its region, "
                             f"a check before it has one of this name")
        taken |= set(getattr(check, "regions", ()))
        found.append(check)
    return found


def foreign_checks(config) -> dict[str, str]:
    """name -> "package.module:Class" of the checks that other packages bring, each made once to see that it can be.

    CheckError for one that cannot, or whose name is a built-in one's.
    """
    for name, place in CHECKS.hidden().items():
        raise CheckError(f"check {name!r} ({place}): the name is that of a built-in check; give it another")
    found = CHECKS.foreign()
    for name in found:
        _made(name, config)
    return found


def _made(name: str, config) -> Check:
    kind = CHECKS[name]
    if not (isinstance(kind, type) and issubclass(kind, Check)):
        raise CheckError(f"check {name!r} ({CHECKS.foreign().get(name, 'registered here')}): expected a subclass of "
                         f"xray_debug.audit.checks.Check, got {kind!r}")
    with blamed(name, kind, "cannot be made"):
        check = kind(config)
    check.name = name
    return check
