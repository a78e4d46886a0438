"""What a secret looks like: the one definition, for configs, requests, uploads and MLflow."""

import re
from collections.abc import Iterator

HIDDEN = "<hidden>"
# Names of files that hold secrets, as patterns of .gitignore. Contents are searched as well.
FILES = (
    *(".env .env.* *.env .envrc .aws .ssh .gnupg .netrc .pypirc .npmrc .huggingface".split()),
    *("credentials credentials.* *.pem *.key *.p12 *.pfx *.token id_rsa* id_ed25519*".split()),
    *("*secret*.json *secret*.y*ml".split()),
)

_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}"
    r"|\bsk-(?=[\w-]*\d)[\w-]{20,}"  # OpenAI's and Anthropic's; without a digit it is a CSS class
    r"|\bA(?:KIA|SIA)[A-Z0-9]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?<=://)[^/@\s:'\"{}]*:[^/@\s'\"{}]+(?=@)"  # user:password of a URL
)
_NAMES = ("secret", "secrets", "credential", "credentials", "apikey", "pwd")
_PASSWORDS = ("password", "passwd", "passphrase")
_SECRET_KEYS = ("access", "account", "api", "auth", "private", "secret", "signing")
# What a tokenizer calls its tokens.
_TEXT_TOKENS = (
    *("bos eos pad unk sep cls mask stop start end begin special image video audio".split()),
    *("think answer prompt decoder first last next new".split()),
)


def is_secret_name(name: str) -> bool:
    """`HF_TOKEN`, `wandb.apiKey`, `db_password`; but not `eos_token`, `max_tokens`, `kms_key`."""
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    before, last = ["", "", *words][-2:]
    if last == "token":
        return before not in _TEXT_TOKENS
    if last == "key":
        return before in _SECRET_KEYS
    return last in _NAMES or last.endswith(_PASSWORDS)


def is_secret(name: str, value: object) -> bool:
    """By its name or its value. The ARN of a secret is none: it is how one is handed on."""
    if value is None or isinstance(value, bool) or value == "":
        return False
    text = str(value)
    by_name = is_secret_name(name) and not text.startswith("arn:")
    return by_name or _VALUE.search(text) is not None


def without_secrets(text: str) -> str:
    """The text with tokens, keys and `user:password@` replaced."""
    return _VALUE.sub(HIDDEN, text)


def secrets_in(text: str) -> Iterator[tuple[int, str]]:
    """Line number and first characters of each secret in a file's text."""
    for found in _VALUE.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found.group()[:6]
