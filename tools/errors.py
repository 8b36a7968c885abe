"""The one exception tree of Exposit. Each branch says who must act.

ExpositError
├── CallerError            the person who sent the request must change it
│   ├── ImageError         the file cannot be judged (one code a cause)
│   ├── FetchError         the URL cannot be fetched (refused, unreachable, too big)
│   └── NotFoundError      no such case, map or model
├── OperatorError          whoever runs the service must act
│   ├── ConfigurationError a setting or file is wrong
│   ├── MissingWeightError a weight is not there: names file, size, licence, command
│   └── IntegrityError     a hash, signature or audit chain does not hold
└── TryAgainError          nothing is wrong with the request: try again
    ├── WorkerError        a tool's process died, hung or ran out of memory
    └── ModelServerError   the model server did not answer, or not in the agreed form
"""

from __future__ import annotations


class ExpositError(Exception):
    """Root of the tree.

    Args:
        message: What is wrong, in one sentence.
        remedy: What to do about it, in one sentence.
        code: Stable machine-readable name of the cause (snake_case).
    """

    code = "error"

    def __init__(self, message: str, *, remedy: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


class CallerError(ExpositError):
    """The request itself must change."""

    code = "bad_request"


class ImageError(CallerError):
    """The file cannot be judged. `code` names the cause; see `tools.image.REFUSALS`."""

    code = "not_an_image"


class FetchError(CallerError):
    """The URL cannot be fetched, or must not be."""

    code = "fetch_refused"


class NotFoundError(CallerError):
    """Nothing is stored under that name."""

    code = "not_found"


class OperatorError(ExpositError):
    """Whoever runs the service must act."""

    code = "operator"


class ConfigurationError(OperatorError):
    """A setting or a committed file is wrong."""

    code = "configuration"


class MissingWeightError(OperatorError):
    """A weight is not on this machine; the message names file, size, licence and command."""

    code = "missing_weight"


class IntegrityError(OperatorError):
    """A hash or the audit chain does not hold."""

    code = "integrity"


class TryAgainError(ExpositError):
    """Nothing is wrong with the request."""

    code = "try_again"


class WorkerError(TryAgainError):
    """A tool's process died, hung or ran out of memory."""

    code = "worker"


class ModelServerError(TryAgainError):
    """The model server did not answer, or not in the agreed form."""

    code = "model_server"
