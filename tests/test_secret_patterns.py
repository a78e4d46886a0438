import fnmatch
import re

import littered
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.paths import PROJECT
from rlvr.secret_patterns import (
    FILES,
    HIDDEN,
    diff_without_secrets,
    file_problem,
    is_secret,
    is_secret_name,
    secrets_in,
    without_secrets,
)

NAMES = """token hub_token model.hf_token HF_TOKEN HF_TOKEN_2 GITHUB_TOKEN AWS_SESSION_TOKEN
wandb_api_key wandb.apiKey API_KEY OPENAI_API_KEY AWS_SECRET_ACCESS_KEY ssh_private_key aws.secret
db_password db_password_prod WANDB_API_KEY_2 SECRET_KEY_BASE
PGPASSWORD MLFLOW_TRACKING_PASSWORD MYSQL_PWD clientSecret credentials APIKEY"""
OTHERS = """eos_token pad_token model.imageToken max_tokens num_tokens trainer.token_budget
TOKENIZERS_PARALLELISM tokenizer hf_token_secret_arn kms_key key monkey pass_at_k answer_key
NCCL_DEBUG secretary AWS_ACCESS_KEY_ID"""
VALUES = [
    "hf_" + "a" * 34,
    "AKIA" + "A" * 16,
    "ghp_" + "b" * 36,
    "github_pat_" + "1a_" * 12,
    "glpat-" + "x1" * 10,
    "sk-proj-" + "a1B2" * 10,
    "-----BEGIN RSA PRIVATE KEY-----",
    "https://user:pass@host/path",
    "postgresql+psycopg2://me:p-w.d@db:5432/mlflow",
]


@pytest.mark.parametrize("name", NAMES.split())
def test_names_of_secrets(name):
    assert is_secret_name(name)
    assert is_secret(name, "value")
    assert not is_secret(name, None)
    assert not is_secret(name, True), "HF's token=True says to use the stored one"


@pytest.mark.parametrize("name", OTHERS.split())
def test_names_of_other_things(name):
    assert not is_secret_name(name)


def test_the_arn_of_a_secret_is_how_to_hand_it_on():
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:hf-abc"
    assert not is_secret("launcher.hf_token_secret", arn)
    assert is_secret("launcher.hf_token_secret", "plain")


@pytest.mark.parametrize("secret", VALUES)
def test_values_are_found_and_hidden(secret):
    text = without_secrets(f"before {secret} after")
    assert HIDDEN in text
    assert secret not in text
    assert "pass@" not in text
    assert is_secret("note", f"before {secret}")
    assert [line for line, _ in secrets_in(f"one\ntwo {secret}\n")] == [2]


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz ABC_=\"'\n0123456789", max_size=300))
def test_ordinary_text_is_no_secret(text):
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "sk-toggleable__label-arrow-after",
        'f"https://{user}:{password}@{host}"',
        "see https://example.org/a:b@c",
        "hf_hub_download_with_retries",
    ],
)
def test_code_that_looks_a_little_like_one(text):
    assert without_secrets(text) == text


def test_this_project_holds_none():
    files = [*PROJECT.glob("rlvr/**/*.py"), *PROJECT.glob("conf/**/*.yaml"), PROJECT / "train.py"]
    assert len(files) > 100
    assert not [p for file in files if (p := file_problem(file.name, file.read_bytes()))]


@pytest.mark.parametrize("name", [".env", ".env.prod", ".envrc", "my_secrets.yaml", "id_rsa.old"])
def test_files_of_secrets(name):
    assert any(re.match(fnmatch.translate(pattern), name) for pattern in FILES)


@pytest.mark.parametrize("name", littered.FILES)
def test_every_kind_of_secret_is_found_and_not_repeated(name):
    found = file_problem(name, littered.content(name))
    assert found is not None
    assert found.startswith(name)
    assert littered.CANARY not in found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "password: null\napi_key: ${oc.env:KEY}\ntoken: ''\nsecret: ???"),
        ("a.yaml", "hf_token_secret: arn:aws:secretsmanager:us-east-1:1:secret:hf"),
        ("a.yaml", "# never secrets: whoever may describe the job reads them"),
        ("a.sh", "export HF_TOKEN=$(cat /run/secrets/hf)\npassword=$PASSWORD"),
        ("Dockerfile", "ENV HF_TOKEN $TOKEN\nENV TOKENIZERS_PARALLELISM false"),
        ("a.sh", "aws configure set region us-east-1\nsetenv PASSWORD_FILE /run/secrets/x"),
        ("a.py", "token = get_token()\npassword: str\nAPI_KEY = os.environ['API_KEY']"),
        ("a.py", "tokenizer(text, eos_token='</s1>', pad_token='<p4d>')"),
        (".env.example", "HF_TOKEN=\nWANDB_API_KEY=your-key-here"),
        ("vocab.json", '{"password": 31213, "secret": 8712, "token": 99}'),
        ("config.json", '{"eos_token": "<|im_end2|>", "max_tokens": 4096}'),
    ],
)
def test_what_stands_for_a_secret_or_looks_like_one(name, text):
    assert file_problem(name, text.encode()) is None


def test_a_recorded_diff_holds_no_secret():
    """Tracked files with a secret are recorded with every run, also where its code is not sent."""
    diff = "".join(
        f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n+{text}\n"
        for name, text in {
            "conf/a.yaml": f"password: {littered.CANARY}",
            "b.py": "token = get_token()",
            "c.py": f"token = '{littered.CANARY}'",
        }.items()
    )
    hidden = diff_without_secrets(diff)
    assert littered.CANARY not in hidden
    assert hidden.count(HIDDEN) == 2
    assert "+token = get_token()\n" in hidden
    assert diff_without_secrets("") == ""
