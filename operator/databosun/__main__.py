"""`databosun`: the operator, the agent, and the command line, each imported only when asked for."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the part that the first argument names; anything else is the command line's."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command == "operator":
        sys.exit(_operator())
    if command == "agent":
        from databosun.agent.main import main as agent

        sys.exit(agent())
    from databosun.cli.main import main as cli

    cli()


def _operator() -> int:
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
