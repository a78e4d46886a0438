"""Ctrl-C during a campaign: jobs are stopped, or left running and named; never forgotten."""

import sys
from typing import TYPE_CHECKING

from rlvr.launchers.sagemaker.service import aws_errors, explain

if TYPE_CHECKING:
    from rlvr.launchers.sagemaker.campaign import Campaign


def interrupted(campaign: "Campaign") -> bool:
    """Answer the newest interrupt; True when the campaign is to be left at once."""
    first, campaign.answered = campaign.answered == 0, campaign.interrupts.count
    campaign.pending.clear()
    if not campaign.running:
        return False
    if first:
        how = campaign.running[0].settings.on_interrupt
        choice = ask(campaign) if how == "ask" else how
        campaign.answered = campaign.interrupts.count
        if choice == "detach":
            name_running(campaign, "these jobs go on without the launcher")
            return True
        stop_all(campaign)
        if campaign.answered == 1:
            return False
    name_running(campaign, "these jobs were told to stop and are not waited for")
    return True


def ask(campaign: "Campaign") -> str:
    """Stop or detach? Without a terminal, or at a second Ctrl-C: stop."""
    if not sys.stdin.isatty():
        return "stop"
    import select

    running, count = len(campaign.running), campaign.interrupts.count
    print(f"\n{running} jobs run on SageMaker: [s]top them, [d]etach and leave them running? ")
    while campaign.interrupts.count == count:
        if select.select([sys.stdin], [], [], 0.2)[0]:
            return "detach" if sys.stdin.readline().strip().lower().startswith("d") else "stop"
    return "stop"


def stop_all(campaign: "Campaign") -> None:
    """Tell every running job to stop; their ends are then seen and collected as usual."""
    campaign.sweep.terminal.say(
        f"stopping {len(campaign.running)} jobs; they may save for up to two minutes "
        "(again to leave them to it)"
    )
    for entry in campaign.running:
        assert entry.remote
        entry.due = 0.0
        try:
            campaign.service.stop(entry.remote.name)
        except aws_errors() as error:
            campaign.sweep.terminal.say(
                f"#{entry.job.index} could not be stopped: {explain(error)}; stop it "
                f"with: {campaign.service.stop_command(entry.remote.name)}"
            )


def name_running(campaign: "Campaign", why: str) -> None:
    """The jobs that outlive the launcher, each with the command that stops it."""
    lines = [
        f"  #{entry.job.index} {entry.job.name}: {campaign.service.stop_command(entry.remote.name)}"
        for entry in campaign.running
        if entry.remote
    ]
    if lines:
        campaign.sweep.terminal.say(
            f"{why}; resume the sweep to collect them, or stop them with:\n" + "\n".join(lines)
        )
