"""`rlvr push`: a run's model and its card, to the Hugging Face hub."""

from pathlib import Path

from rlvr import manifest, result
from rlvr.config import load
from rlvr.errors import UserError
from rlvr.hub.card import forget_machine, title, write_card
from rlvr.paths import output_dir
from rlvr.secret_patterns import WEIGHTS, file_problem
from rlvr.states import State


def push(target: str, repo: str | None, *, private: bool, dry_run: bool) -> None:
    """Upload `model/` of a finished run to `repo` (ORG/NAME; default: a name of its recipe, of the
    token's owner). The card is written anew first. UserError before anything is sent."""
    run_dir = manifest.locate(target, output_dir() / "runs")
    found, folder = result.read(run_dir), run_dir / "model"
    if found is None or found.status is not State.finished or not folder.is_dir():
        state = found.status if found else "without a result"
        raise UserError(
            f"{run_dir} is {state}: only the model of a run that finished can be pushed (of a "
            "sweep, name one of its runs, such as SWEEP/0)"
        )
    cfg = load(run_dir / "config.yaml")
    forget_machine(folder, cfg.model.path)
    write_card(cfg, folder, found)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    refuse_secrets(folder, files)
    repo = repo or title(cfg)
    for path in files:
        print(f"{path.stat().st_size:>14,}  {path.relative_to(folder)}")
    if dry_run:
        print(f"would go to {repo} ({'private' if private else 'public'}); nothing was sent")
    else:
        print(_upload(folder, repo, private))


def refuse_secrets(folder: Path, files: list[Path]) -> None:
    """UserError naming every file that looks like a secret or holds one; weights are not read."""
    bodies = {
        path.relative_to(folder).as_posix(): b"" if path.suffix in WEIGHTS else path.read_bytes()
        for path in files
    }
    if bad := [problem for name, body in bodies.items() if (problem := file_problem(name, body))]:
        raise UserError("nothing was sent, move these away:\n  " + "\n  ".join(bad))


def _upload(folder: Path, repo: str, private: bool) -> str:
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if token is None:
        raise UserError(
            "no token for the hub: set HF_TOKEN (one that may write), or log in: hf auth login"
        )
    api = HfApi(token=token)
    try:
        made = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=made.repo_id, folder_path=folder, commit_message="Model and card of an rlvr run"
        )
    except (OSError, ValueError) as error:  # the hub's HTTP and name errors are such
        raise UserError(f"the hub did not take {repo}: {str(error).splitlines()[0]}") from error
    return str(made)
