"""`databosun`: the operator, the agent, and the command line, each imported only when asked for."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the part that the arguments name. The first two bare, as the images call them, load nothing of the third."""
    if sys.argv[1:] == ["operator"]:
        sys.exit(run_operator())
    if sys.argv[1:] == ["agent"]:
        run_agent()
        return
    if sys.argv[1:2] == ["verify-evidence"]:
        from databosun.agent.verify import main as verify

        sys.exit(verify(sys.argv[2:]))
    from databosun.cli.main import main as cli

    cli()


def run_agent() -> None:
    """Do the work of one Job; ends the process."""
    from databosun.agent.main import main as agent

    agent()


def run_operator() -> int:
    """Run the operator until it is told to stop; returns the exit code."""
    import os

    from databosun import app
    from databosun.domain.errors import UserFault
    from databosun.runtime.logging import configure
    from databosun.runtime.settings import load_settings

    try:
        settings = load_settings(os.environ)
    except UserFault as fault:
        sys.stderr.write(f"{fault}\n")
        return 2
    configure(settings.log_level)
    try:
        return app.main(settings)
    except UserFault as fault:
        sys.stderr.write(f"{fault}\n")
        return 2


if __name__ == "__main__":
    main()
