"""Experiments in reinforcement learning with verifiable rewards, configured by Hydra."""

TYPE_CHECKING = False  # for type checkers true; `typing` would be more to load than all else

if TYPE_CHECKING:
    from rlvr.compare.frames import load_answers, load_metrics, load_run, load_sweep

__all__ = ["load_answers", "load_metrics", "load_run", "load_sweep"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Looked up when they are asked for: each process of a run imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rlvr.compare import frames

    return getattr(frames, name)
