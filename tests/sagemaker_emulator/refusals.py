"""An error response of the service."""


class ApiError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


def invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)
