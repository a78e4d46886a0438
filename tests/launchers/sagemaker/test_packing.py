import io
import subprocess
import tarfile

import pytest

from rlvr.errors import UserError
from rlvr.launchers.sagemaker.packing import pack
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
    """A clone, with two files that git does not know yet."""
    root = tmp_path / "project"
    write(root, pkg__a_DOT_py="a = 1", pkg__data__b_DOT_py="b = 2", train_DOT_py="")
    git(root, "init", "-q")
    git(root, "add", "train.py")
    return root


def git(root, *arguments):
    subprocess.run(["git", "-C", str(root), *arguments], check=True)


def test_the_same_files_give_the_same_bytes(project):
    first = pack(project)
    for path in project.rglob("*.py"):
        path.touch()
    assert pack(project).data == first.data
    (project / "train.py").write_text("changed")
    assert pack(project).digest != first.digest


def test_what_git_ignores_stays_here(project, tmp_path):
    """Of the clone, of a folder, of the user, and links to what is ignored or elsewhere."""
    (project / ".gitignore").write_text("notes/\n*.local.yaml\n")
    write(project, pkg___DOT_gitignore="mine.py")
    (project / ".git/info/exclude").write_text("scratch.py\n")
    for name in "notes/a.py conf/x.local.yaml pkg/mine.py scratch.py pkg/sub/notes/b.py".split():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TOKEN)
    (tmp_path / "outside.py").write_text(TOKEN)
    (project / "pkg/link.py").symlink_to(tmp_path / "outside.py")
    (project / "pkg/inside.py").symlink_to("mine.py")
    (project / "pkg/good.py").symlink_to("a.py")
    (project / "gone.py").write_text("")
    git(project, "add", "gone.py")
    (project / "gone.py").unlink()
    assert names(pack(project)) == ["pkg/a.py", "pkg/data/b.py", "pkg/good.py", "train.py"]


def test_what_no_job_needs_stays_here(project):
    for name in (
        "data/train.jsonl tests/test_a.py docs/a.md conf/local/default.yaml mlruns/0 outputs/x "
        "pkg/__pycache__/a.pyc shared/x"
    ).split():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TOKEN)
    assert names(pack(project)) == ["pkg/a.py", "pkg/data/b.py", "train.py"]


def test_outputs_inside_the_clone_stay_here(project, monkeypatch):
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(project / "results"))
    write(project, results__run__result_DOT_json="{}")
    assert "results/run/result.json" not in names(pack(project))


def test_what_goes_up_is_shown(project):
    told = pack(project).describe()
    assert told.startswith("code: 3 files, 0.00 MB packed (")
    assert told.splitlines()[0].endswith("): pkg/ 2, train.py")
    assert told.splitlines()[1] == "  not yet in git, but not ignored: pkg/a.py, pkg/data/b.py"


def test_a_copy_without_git_packs_its_known_parts(tmp_path):
    root = tmp_path / "copy"
    write(root, rlvr__a_DOT_py="", conf__b_DOT_yaml="", train_DOT_py="", mine_DOT_ini="x=1")
    write(root, rlvr___DOT_env="HF_TOKEN=x", notes__c_DOT_txt=TOKEN)
    packed = pack(root)
    assert names(packed) == ["conf/b.yaml", "rlvr/a.py", "train.py"]
    assert packed.untracked == ()


def test_an_installation_inside_an_ignored_environment(project):
    """site-packages of a clone's own .venv: only what is ours, whatever lies beside it."""
    (project / ".gitignore").write_text(".venv/\n")
    packages = project / ".venv/lib/site-packages"
    write(packages, rlvr__a_DOT_py="", hydra_plugins__rlvr_launchers__x_DOT_py="", six_DOT_py="")
    write(packages, hydra_plugins__other__y_DOT_py="")
    assert names(pack(packages)) == ["hydra_plugins/rlvr_launchers/x.py", "rlvr/a.py"]


def test_git_that_does_not_answer_is_no_reason_to_guess(project, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match=r"git cannot say which files of .* are code"):
        pack(project)


def test_a_secret_in_a_packed_file_is_an_error_that_names_the_line(project):
    write(project, pkg__hub_DOT_py=f"import os\n\ntoken = '{TOKEN}'\n")
    with pytest.raises(UserError, match=r"pkg/hub\.py:3: a Hugging Face token") as caught:
        pack(project)
    assert TOKEN[:6] not in str(caught.value)
    assert "launcher.exclude" in str(caught.value)
    without = ["pkg/a.py", "pkg/data/b.py", "train.py"]
    assert names(pack(project, exclude=["/pkg/hub.py"])) == without
    (project / ".gitignore").write_text("hub.py\n")
    assert names(pack(project)) == without


def test_requirements_with_a_password_are_refused(project):
    index = "--index-url https://me:hunter22@pypi.example.org/simple\n"
    with pytest.raises(UserError, match=r"requirements\.txt:1: a password in a URL"):
        pack(project, extra={"requirements.txt": index})


def test_a_large_tree_is_an_error_that_names_the_largest_files(project):
    (project / "weights.bin").write_bytes(b"0" * 3_000_000)
    with pytest.raises(UserError, match=r"3 MB, more than launcher\.max_code_mb=2") as caught:
        pack(project, max_mb=2)
    assert "3.0 MB  weights.bin" in str(caught.value)


def test_extra_files_are_added(project):
    assert "requirements.txt" in names(pack(project, extra={"requirements.txt": "a==1\n"}))


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
