import importlib.metadata
import io
import sys
import tarfile

import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.packing import pack, requirements
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.paths import PROJECT

TOKEN = "hf_" + "a1B2" * 9


def names(archive):
    with tarfile.open(fileobj=io.BytesIO(archive.data)) as tar:
        return tar.getnames()


def write(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    write(root, pkg__a_DOT_py="a = 1", pkg__data__b_DOT_py="b = 2", train_DOT_py="")
    return root


def test_the_same_files_give_the_same_bytes(project):
    first = pack(project)
    for path in project.rglob("*.py"):
        path.touch()
    assert pack(project).data == first.data
    (project / "train.py").write_text("changed")
    assert pack(project).digest != first.digest


def test_what_jobs_must_not_get_stays_here(project, tmp_path):
    outside = tmp_path / "outside.py"
    outside.write_text("secret = 1")
    (project / "pkg" / "link.py").symlink_to(outside)
    (project / "up.py").symlink_to("../outside.py")
    for name in (
        ".git/config .venv/x.py outputs/run/model.bin data/train.jsonl tests/test_a.py .env "
        "conf/local/default.yaml pkg/.env.prod pkg/__pycache__/a.pyc mlruns/0 id_rsa key.pem "
        ".aws/credentials pkg/credentials.json my_secrets.yaml .netrc shared/x"
    ).split():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TOKEN)
    assert names(pack(project)) == ["pkg/a.py", "pkg/data/b.py", "train.py"]


def test_a_secret_in_a_packed_file_is_an_error_that_names_the_line(project):
    write(project, pkg__hub_DOT_py=f"import os\n\ntoken = '{TOKEN}'\n")
    with pytest.raises(UserError, match=r"pkg/hub\.py:3: hf_a1B") as caught:
        pack(project)
    assert TOKEN not in str(caught.value)
    assert names(pack(project, exclude=["/pkg/hub.py"])) == [
        "pkg/a.py",
        "pkg/data/b.py",
        "train.py",
    ]


def test_a_large_tree_is_an_error_that_names_the_largest_files(project):
    (project / "weights.bin").write_bytes(b"0" * 3_000_000)
    with pytest.raises(UserError, match=r"3 MB, more than launcher\.max_code_mb=2") as caught:
        pack(project, max_mb=2)
    assert "3.0 MB  weights.bin" in str(caught.value)


def test_extra_files_are_added(project):
    archive = pack(project, extra={"requirements.txt": "a==1\n"})
    assert "requirements.txt" in names(archive)
    assert archive.describe().startswith("code: 4 files, 0.00 MB packed (")


def test_this_project_packs_whole_and_small():
    archive = pack(PROJECT)
    packed = names(archive)
    assert {
        "train.py",
        "conf/config.yaml",
        "rlvr/worker.py",
        "rlvr/launchers/sagemaker/bootstrap.py",
    } <= {*packed}
    assert "rlvr/data/prompts.py" in packed, "a folder named data is only left out at the root"
    assert not [name for name in packed if name.startswith(("tests/", ".git/", ".venv/"))]
    assert len(archive.data) < 5_000_000


def settings(**changes):
    return Settings.read({"role": "arn:aws:iam::123456789012:role/x", **changes})


def test_requirements_are_what_is_installed_here_without_what_jobs_do_not_need():
    text = requirements(settings(extra_requirements=["a==1"]), tracked=False, deepspeed=False)
    pinned = dict(line.split("==") for line in text.splitlines())
    assert pinned["trl"] == importlib.metadata.version("trl")
    assert pinned["a"] == "1"
    assert not {"torch", "sagemaker", "mlflow", "deepspeed"} & set(pinned)
    tracked = requirements(settings(), tracked=True, deepspeed=False)
    assert "mlflow==" in tracked
    assert "deepspeed" not in tracked
    if sys.platform == "linux":
        assert "deepspeed==" in requirements(settings(), tracked=False, deepspeed=True)


def test_requirements_of_ones_own_or_none(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("b==2\n")
    assert requirements(settings(requirements=str(file)), tracked=True, deepspeed=True) == "b==2\n"
    assert requirements(settings(requirements=None), tracked=True, deepspeed=True) is None
