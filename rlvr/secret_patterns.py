"""What a secret looks like: the one definition, for configs, requests, uploads and MLflow."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePath

HIDDEN = "<hidden>"
# Names of files and folders that hold secrets, as patterns of .gitignore, in lower case.
FILES = (
    *(".env .env.* *.env .envrc .netrc _netrc .pgpass .my.cnf .htpasswd .git-credentials".split()),
    *(".aws .azure .boto .s3cfg .gcloud gcloud .kube .ssh .gnupg .docker .dockercfg".split()),
    *(".pypirc .npmrc .yarnrc.yml .huggingface .kaggle kaggle.json .databrickscfg".split()),
    *(".vault-token .ngrok2 .secrets .password-store .*_history *.ovpn *.ppk *.kdbx".split()),
    *("credentials credentials.* *credentials*.json *.credentials kubeconfig kubeconfig.*".split()),
    *("*.kubeconfig *.pem *.key *.p12 *.pfx *.jks *.keystore *.gpg *.age *.token token".split()),
    *("token.txt token.json *_token.txt id_rsa* id_dsa* id_ecdsa* id_ed25519*".split()),
    *("client_secret*.json service[-_]account*.json serviceaccount*.json".split()),
    *("*.tfstate *.tfstate.* *.tfvars *.tfvars.json *password*.txt passwords.*".split()),
    *(f"*secret*.{end}" for end in "json yaml yml toml ini cfg conf env txt properties".split()),
)
TEMPLATES = (".example", ".sample", ".template", ".dist")  # such names are for others to fill in

# What a secret is called, what a text with one has (in lower case; much faster to look for), and
# its pattern. A URL's is its `user:password`.
_TOKENS = {
    "a Hugging Face token": ("hf_", r"\bhf_[A-Za-z0-9]{20,}"),
    "a GitHub token": (
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}",
    ),
    "a GitLab token": ("glpat- glrt- gldt-", r"\bgl(?:pat|rt|dt)-[\w-]{20,}"),
    # without a digit it is a CSS class
    "a key of OpenAI, Anthropic or Stripe": (
        "sk- sk_ rk- rk_ pk- pk_",
        r"\b[srp]k[-_](?=[\w-]*\d)[\w-]{20,}",
    ),
    "an AWS access key": ("akia asia", r"\bA(?:KIA|SIA)[A-Z0-9]{16}\b"),
    "an AWS secret key": (
        "access_key accesskey session_token sessiontoken",
        r"(?i:aws_?(?:secret_?access_?key|session_?token))[\"'\s]*[:=][\"'\s]*"
        r"[A-Za-z0-9/+=]{40,}",
    ),
    "a private key": (
        "private age-secret- putty- client-key-data",
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\bAGE-SECRET-KEY-1\w{20,}"
        r"|\bPuTTY-User-Key-File|\bclient-key-data\s*:\s*[A-Za-z0-9+/=]{20,}",
    ),
    "a Google key": (
        "aiza ya29. gocspx-",
        r"\bAIza[\w-]{35}|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}",
    ),
    "an Azure key": (
        "accesskey= accountkey= sig=",
        r"\b(?:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{40,}|[?&]sig=[\w%]{40,}",
    ),
    "a Slack token": (
        "xox hooks.slack",
        r"\bxox[abeoprs]-[\w-]{10,}|\bhooks\.slack\.com/services/[\w/]{20,}",
    ),
    "a package index's token": (
        "npm_ pypi- _authtoken",
        r"\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{40,}|_authToken=[\w./+=-]{8,}",
    ),
    "a service's token": (
        "dapi hvs. dop_v1_ sg. gsk_ r8_ :aa",
        r"\bdapi[0-9a-f]{32}|\bhvs\.[\w-]{20,}|\bdop_v1_[0-9a-f]{40,}"
        r"|\bSG\.[\w-]{16,}\.[\w-]{16,}|\bgsk_[A-Za-z0-9]{30,}|\br8_[A-Za-z0-9]{30,}"
        r"|\b\d{8,10}:AA[\w-]{33}\b",
    ),
    "a JSON web token": ("eyj", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "an authorization header": (
        "bearer basic",
        r"\b(?:Bearer|Basic)\s+(?=[\w+/.-]*\d)[\w+/.-]{20,}",
    ),
    "a registry's login": ('"auth"', r"\"auth\"\s*:\s*\"[A-Za-z0-9+/=]{12,}\""),
    "a login of .netrc": ("machine", r"\bmachine\s+\S+\s+login\s+\S+\s+password\s+\S+"),
    "a password's hash": ("$apr1$ $2 $5$ $6$", r"\$(?:apr1|2[aby]|5|6)\$[\w./$]{20,}"),
    "a password in a URL": ("://", r"(?<=://)[^/@\s:'\"{}]*:(?![$<])[^/@\s'\"{}]+(?=@)"),
}
_PATTERNS = [(kind, has.split(), re.compile(of)) for kind, (has, of) in _TOKENS.items()]
_VALUE = re.compile("|".join(f"(?:{pattern})" for _, pattern in _TOKENS.values()))
# `name = value`, `name: str = value`, `"name": "value"`; `--name value`; `<name>value</name>`: from
# the last word of the name on, which is much faster to find than whole names.
_ASSIGNED = re.compile(
    r"""(?i:tokens?|key|secrets?|credentials?|pwd|pass(?:word|wd|phrase)?)"""
    r"""(?i:_?\d+|_(?:prod|production|dev|staging|test|live|base|old|new))?(?=[^\w.-])\\?["']?\]?"""
    r"""(?P<by>(?:[ \t]*:[ \t]*[\w\[\], |.]+?(?=[ \t]*=[^=]))?[ \t]*(?::=|=>|[:=])[ \t]*|>|[ ]+)"""
    r"""(?:[|>][-+]?\n\s+)?(?P<value>\\?"[^"\n]*"|\\?'[^'\n]*'|[^\s,;<>)}\]]+)"""
)
# A Dockerfile's `ENV NAME value`, csh's `setenv`, `aws configure set NAME value`.
_SETS = re.compile(r"(?:^|[\s&;|])(?:ENV|setenv|configure[ \t]+set)[ \t]+[\w.-]+$")
_NAMES = (
    *("secret secrets credential credentials apikey pwd authtoken accesstoken".split()),
    *("accesskey secretkey privatekey".split()),
)
_PASSWORDS = ("password", "passwd", "passphrase")
_WHERE = "prod production dev staging test live base old new".split()  # after the word itself
_SECRET_KEYS = (
    *("access account api auth private secret signing encryption master jwt fernet ssh".split()),
    *("aes deploy subscription".split()),
)
# What a tokenizer calls its tokens.
_TEXT_TOKENS = (
    *("bos eos pad unk sep cls mask stop start end begin special image video audio".split()),
    *("think answer prompt decoder first last next new".split()),
)
# In these a value without quotes is an expression or a sentence.
_CODE = {
    *(".py .pyi .ipynb .md .rst .js .mjs .ts .html .jinja .css .c .cc .cpp .h .cu .rs".split()),
    *(".go .java .svg .csv .jsonl .tex".split()),
}
WEIGHTS = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".gguf",
    ".npy",
    ".npz",
    ".png",
    ".jpg",
)  # not read
READ_OF_DATA = 2_000_000  # bytes
_NOT_A_SECRET = re.compile(
    r"(?i)\$(?:\{|\(|[a-z_]+\b)|%|<|\{|\.\.\.|\*\*\*|xxx|arn:|oc\.env|(?:~|\.{1,2})?/\w|your|change|example|placeholder|dummy"
    r"|(?:null|none|true|false|str|string|int|bool|required|optional|hidden|redacted|unset)\b(?![-\w])"
)


def is_secret_name(name: str) -> bool:
    """`HF_TOKEN`, `wandb.apiKey`, `db_password`; but not `eos_token`, `max_tokens`, `kms_key`."""
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    if words and words[-1] in _WHERE:
        words.pop()
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


def tokens_in(text: str) -> Iterator[tuple[int, str]]:
    """Line number and kind of each token, key and `user:password@` in a file's text."""
    lower = text.lower()
    for kind, has, pattern in _PATTERNS:
        for found in pattern.finditer(text) if any(word in lower for word in has) else ():
            yield text.count("\n", 0, found.start()) + 1, kind


def secrets_in(text: str, *, code: bool = False) -> Iterator[tuple[int, str]]:
    """As `tokens_in`, and what is assigned to a secret's name.

    In `code` that is a quoted text which looks like a password; elsewhere any value that stands
    for nothing else.
    """
    yield from tokens_in(text)
    for found, name in _assigned(text, code):
        yield text.count("\n", 0, found.start()) + 1, f"the value of {name.strip('-')}"


def diff_without_secrets(diff: str) -> str:
    """A diff of git, which is recorded and tracked, without what looks like a secret in a file."""
    files = re.split(r"(?m)^(?=diff --git )", without_secrets(diff))
    return "".join(map(_masked, files))


def _masked(diff_of_file: str) -> str:
    name = diff_of_file.partition("\n")[0]
    found = _assigned(diff_of_file, PurePath(name).suffix.lower() in _CODE)
    for start, end in reversed([match.span("value") for match, _ in found]):
        diff_of_file = diff_of_file[:start] + HIDDEN + diff_of_file[end:]
    return diff_of_file


def _assigned(text: str, code: bool) -> Iterator[tuple[re.Match[str], str]]:
    for found in _ASSIGNED.finditer(text):
        far = max(0, found.start() - 200)  # a minified file is one line
        before = text[far : found.start("by")].rpartition("\n")[2].rstrip("\\\"']")
        name = re.split(r"[^\w.-]", before)[-1]
        if found["by"].isspace() and not (name.startswith("--") or _SETS.search(before)):
            continue
        if "#" in before and re.match(r"[ \t]*\S", text[found.end() : found.end() + 9]):
            continue  # a sentence in a comment
        if _is_name(name) and _is_literal(found["value"], name, code):
            yield found, name


def _is_name(name: str) -> bool:
    """In files also `DB_PASS`, which a configuration may mean otherwise."""
    return is_secret_name(name) or re.search(r"(?i)(?:^|[^a-z])pass$", name) is not None


def _is_literal(value: str, name: str, code: bool) -> bool:
    bare = value.replace("\\", "").strip("\"'")
    if len(bare) < 4 or _NOT_A_SECRET.match(bare) or bare == name:
        return False
    quoted = value.lstrip("\\")[0] in "\"'"
    if not code:
        return quoted or not bare.isdigit() or len(bare) >= 8  # a vocabulary's numbers are smaller
    like_one = any(c.isdigit() for c in bare) or name.lower().endswith(_PASSWORDS)
    return quoted and len(bare) >= 6 and like_one and re.search(r"[\s{(]", bare) is None


def file_problem(name: str, body: bytes) -> str | None:
    """Why a file of code must not leave this machine, without the secret; None if it may."""
    if problem := _name_problem(name):
        return problem
    if name.lower().endswith(WEIGHTS):
        return None
    code = PurePath(name).suffix.lower() in _CODE
    found = next(secrets_in(_text(body), code=code), None)
    return f"{name}:{found[0]}: {found[1]}" if found else None


def data_problem(name: str, file: Path) -> str | None:
    """As `file_problem`, for data and models: of small files the tokens, which no data holds."""
    if problem := _name_problem(name):
        return problem
    if name.lower().endswith(WEIGHTS) or file.stat().st_size > READ_OF_DATA:
        return None
    found = next(tokens_in(_text(file.read_bytes())), None)
    return f"{name}:{found[0]}: {found[1]}" if found else None


def _name_problem(name: str) -> str | None:
    parts = PurePath(name.lower()).parts
    named = any(fnmatchcase(part, pattern) for part in parts for pattern in FILES)
    if named and not name.lower().endswith((".py", *TEMPLATES)):
        return f"{name}: a file of this name usually holds secrets"
    return None


def _text(body: bytes) -> str:
    """UTF-16, as Windows writes it, is ASCII with zeros in between."""
    return body.replace(b"\0", b"").decode(errors="replace")
