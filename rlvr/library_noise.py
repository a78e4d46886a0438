"""Libraries that talk too much: only their errors reach the user."""

import logging
import os
import warnings

NOISY = ("bitsandbytes", "DeepSpeed", "deepspeed", "httpx", "torch.distributed", "urllib3")


def _no_failed_verdict(record: logging.LogRecord) -> bool:
    """TRL advises to mend the rewards wherever all are None, which of a failed verdict they are on
    purpose; health metrics count those."""
    return "Verdict(reward=None" not in record.getMessage()


def quiet_libraries() -> None:
    """Call before the libraries load; their errors still raise or are logged."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for category in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(_no_failed_verdict)
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
