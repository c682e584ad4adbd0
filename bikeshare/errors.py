"""Everything this project raises on purpose.

BikeshareError
├── PermanentError            trying again cannot help            exit code 2
│   ├── ConfigurationError    a setting is wrong or missing
│   ├── DataError             a file or batch cannot be used      HTTP 422
│   │   └── BatchRejected     validation refused a batch; it is in quarantine
│   ├── ArtifactError         a model artifact is corrupt or from another contract
│   ├── PromotionRefused      the gate said no
│   ├── RolloutRefused        the canary failed its checks; the old version serves
│   └── NotFound              a key, version or run does not exist
└── TemporaryError            the world was not ready; retry      exit code 1
    ├── Unavailable           a store, database, registry or API did not answer
    └── Conflict              somebody else wrote first; read again and decide again

A message says what was wrong, the value seen, and what to do.
"""


class BikeshareError(Exception):
    """Root of everything we raise on purpose."""

    exit_code = 1


class PermanentError(BikeshareError):
    """Trying again cannot help: bad data, bad configuration, refused promotion."""

    exit_code = 2


class TemporaryError(BikeshareError):
    """The world was not ready; the caller may retry."""


class ConfigurationError(PermanentError):
    """A setting is wrong, missing or contradicts another."""


class DataError(PermanentError):
    """A file or batch cannot be read as observations."""


class BatchRejected(DataError):
    """Validation refused a batch; it was moved to quarantine and nothing was trained."""


class ArtifactError(PermanentError):
    """A model artifact is corrupt, incomplete or made for another contract version."""


class PromotionRefused(PermanentError):
    """The challenger did not pass the gate."""


class RolloutRefused(PermanentError):
    """The canary failed a check; the previous version keeps serving."""


class NotFound(PermanentError):
    """The named key, version or run does not exist."""


class Unavailable(TemporaryError):
    """A store, database, registry or API did not answer."""


class Conflict(TemporaryError):
    """Somebody else wrote first; read again and decide again."""
