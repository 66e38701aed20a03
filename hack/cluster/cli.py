"""The command line of ``cluster``."""

from __future__ import annotations

import argparse
import shlex
import sys

from hack.cluster import layout
from hack.cluster.bare import Bare
from hack.cluster.kind import Kind, docker_answers
from hack.cluster.provider import Provider


def command() -> int:
    """Do what the command line asks for; returns the exit code."""
    arguments = _parser().parse_args()
    provider = _provider(arguments.provider, arguments.name)
    match arguments.verb:
        case "up":
            provider.up()
        case "down":
            provider.down()
        case "load":
            provider.load(arguments.image)
        case "env":
            print(_export(provider.env()))
        case "status":
            return _print_status(provider, arguments.name)
        case "kubelet":
            provider.kubelet(arguments.action)
        case "kill":
            provider.kill(containers=not arguments.keep_containers)
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--name", default="databosun", help="the cluster's name (default: %(default)s)")
    common.add_argument(
        "--provider",
        choices=["auto", "kind", "bare"],
        default="auto",
        help="kind: nodes in Docker containers; bare: native processes, as root; auto: kind where Docker answers",
    )
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    verbs.add_parser("up", parents=[common], help="bring it up, or back up, and wait until it is ready")
    verbs.add_parser("down", parents=[common], help="remove it with everything in it")
    load = verbs.add_parser("load", parents=[common], help="bring local images to its node")
    load.add_argument("image", nargs="+", help="an image's full name, as buildah or docker knows it")
    verbs.add_parser("env", parents=[common], help="print the shell settings to use it")
    verbs.add_parser("status", parents=[common], help="show its parts; the exit code is 3 unless all run")
    kubelet = verbs.add_parser("kubelet", parents=[common], help="freeze the node, or let it go on")
    kubelet.add_argument("action", choices=["stop", "start"])
    kill = verbs.add_parser("kill", parents=[common], help="kill all its processes at once, as a power cut would")
    kill.add_argument("--keep-containers", action="store_true", help="kill the daemons alone")
    return parser


def _provider(wanted: str, name: str) -> Provider:
    """Return the provider asked for; 'auto' stays with the one that a running cluster has."""
    layout.check_name(name)
    if wanted == "auto":
        wanted = "kind" if layout.find(name) is None and docker_answers() else "bare"
    return Kind(name) if wanted == "kind" else Bare(name)


def _export(settings: dict[str, str]) -> str:
    """Return one line for ``eval``; the folder of programs goes in front of the PATH there is."""
    rest = {"PATH": ':"$PATH"'}
    words = [f"{name}={shlex.quote(value)}{rest.get(name, '')}" for name, value in settings.items()]
    return f"export {' '.join(words)}"


def _print_status(provider: Provider, name: str) -> int:
    status = provider.status()
    if not status.parts:
        print(f"there is no cluster {name}", file=sys.stderr)
    for part, state in status.parts.items():
        print(f"{part:<24} {state}")
    return 0 if status.running else 3
