"""A store as far away as cloud object stores are: toxiproxy between, with a latency and a bandwidth a connection."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from support.pgserver import free_port
from support.waiting import eventually

TOOLS = Path(__file__).resolve().parents[2] / "hack" / "tools" / "tools"


@contextmanager
def far_away(endpoint: str, *, milliseconds: int, megabytes: int) -> Iterator[str]:
    """The endpoint behind so many milliseconds before each answer, and so many MB a second each way a connection."""
    got = subprocess.run([sys.executable, TOOLS, "get", "toxiproxy"], capture_output=True, text=True, check=True)
    port, control = free_port(), free_port()
    argv = [Path(got.stdout.strip()) / "toxiproxy-server", "-host", "127.0.0.1", "-port", str(control)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as proxy:
        try:
            api = f"http://127.0.0.1:{control}"
            eventually("toxiproxy answers", lambda: _answers(f"{api}/version"), 60)
            listen = f"127.0.0.1:{port}"
            _post(f"{api}/proxies", {"name": "store", "listen": listen, "upstream": urlsplit(endpoint).netloc})
            kilobytes = {"rate": megabytes * 1000}
            for stream in ("upstream", "downstream"):
                _post(f"{api}/proxies/store/toxics", {"type": "bandwidth", "stream": stream, "attributes": kilobytes})
            late = {"latency": milliseconds}
            _post(f"{api}/proxies/store/toxics", {"type": "latency", "stream": "downstream", "attributes": late})
            yield f"http://{listen}"
        finally:
            proxy.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _post(url: str, body: dict[str, object]) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30):
        return
