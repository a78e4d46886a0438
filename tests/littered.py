"""A clone that people have worked in: more than thirty files with a secret, each of another kind.

The secrets are put together here, so that this file holds none.
"""

import base64

CANARY = "c4naryS3cret"
LONG = (CANARY * 8)[:40]
_KEY = "-----BEGIN {}PRIVATE KEY-----\n" + LONG + "\n"

FILES = {
    ".env": f"HF_TOKEN={LONG}",
    "conf/.env.prod": f"X={LONG}",
    ".envrc": f"export X={LONG}",
    ".secrets/tok": LONG,
    ".netrc": f"machine api.wandb.ai login user password {LONG}",
    ".pgpass": f"db:5432:mlflow:me:{CANARY}",
    ".git-credentials": f"https://me:{CANARY}@example.org",
    ".npmrc": f"//registry/:_authToken={LONG}",
    ".pypirc": f"[pypi]\npassword: {LONG}",
    ".aws/credentials": f"[default]\naws_secret_access_key = {LONG}",
    ".docker/config.json": f'{{"auths": {{"x": {{"auth": "{LONG}"}}}}}}',
    ".kaggle/kaggle.json": f'{{"username": "me", "key": "{LONG}"}}',
    "kubeconfig": f"users:\n- user:\n    token: {LONG}",
    "k8s.yaml": f"users:\n- user:\n    client-key-data: {LONG}",
    "id_ed25519": LONG,
    "server.pem": LONG,
    "store.p12": LONG,
    "terraform.tfstate": LONG,
    "prod.tfvars": f'db = "{LONG}"',
    "secrets.toml": f'x = "{LONG}"',
    "client_secret_1.json": "{}",
    "token.txt": LONG,
    "gcp.json": '{"type": "service_account", "private_key": "' + _KEY.format("") + '"}',
    "notes.txt": _KEY.format("RSA "),
    "settings.ini": f"[aws]\naws_secret_access_key = {LONG}",
    "setup.cfg": f"[x]\napi_key = {LONG}",
    "conf/tracking/mine.yaml": f"uri: x\npassword: {CANARY}",
    "conf/flow.yaml": f"db: {{user: me, password: {CANARY}}}",
    "conf/quoted.yaml": f'"db_password": "{CANARY}"',
    "conf/block.yaml": f"password: |\n  {CANARY}\n",
    "conf/url.yaml": f"uri: postgresql://me:{CANARY}@db/mlflow",
    "app.properties": f"spring.datasource.password={CANARY}",
    "run.sh": f"export WANDB_API_KEY={LONG}",
    "call.sh": f"mysql --password {CANARY}",
    "Dockerfile": f"ENV DB_PASS={CANARY}",
    "Dockerfile.old": f"ENV DB_PASSWORD {CANARY}",
    "configure.sh": f"aws configure set aws_secret_access_key {LONG} --profile mine",
    "login.csh": f"if (1) setenv HF_TOKEN {LONG}",
    "maven.xml": f"<server><password>{CANARY}</password></server>",
    "mine.py": f'API_KEY: str = "{CANARY}"',
    "login.py": f"login(password='{CANARY}')",
    "environ.py": f'os.environ["HF_TOKEN"] = "{CANARY}"',
    "look.ipynb": f'{{"source": ["password = \\"{CANARY}\\"\\n"]}}',
    "hub.py": f"# hf_{LONG}",
    "gh.md": f"ghp_{LONG}",
    "slack.json": f'{{"url": "https://hooks.slack.com/services/T0/B0/{LONG}"}}',
    "header.http": f"Authorization: Bearer {LONG}",
    "azure.txt": f"DefaultEndpointsProtocol=https;AccountKey={LONG}",
    "jwt.log": "eyJ" + ".eyJ".join([LONG, LONG]) + f".{LONG}",
    "aws.csv": "id,AKIA" + "ABCDEFGH23456789",
    "windows.txt": f"password={CANARY}",
    "htpasswd.txt": "me:$apr1$" + LONG,
}


def content(name: str) -> bytes:
    """As Windows writes it for one of them."""
    text = FILES[name]
    return text.encode("utf-16") if name == "windows.txt" else text.encode()


def hidden_in(body: bytes) -> bool:
    """Whether the secret is in there, plain, in base64 or as Windows writes it."""
    flat = body.replace(b"\0", b"")
    return CANARY.encode() in flat or base64.b64encode(CANARY.encode())[:-2] in flat
