"""What a result depends on besides the code: the device, the versions, the commit."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

from .peers import Peer

_ROOT = Path(__file__).parents[2]


def environment(peers: tuple[Peer, ...], packages: tuple[str, ...] = ()) -> dict[str, str | int]:
    """With the versions of the peers, and of those of the packages that are installed."""
    compared = [f"{peer.name} {peer.version}" for peer in peers]
    return {
        "device": device_name(),
        "cores": cores(),
        "jax": jax.__version__,
        "python": platform.python_version(),
        "commit": commit(),
        "peers": ", ".join([*compared, *filter(None, map(_installed, packages))]),
    }


def _installed(package: str) -> str | None:
    with suppress(PackageNotFoundError):
        return f"{package} {version(package)}"
    return None


def device_name() -> str:
    device = jax.devices()[0]
    return _cpu_model() if device.platform == "cpu" else device.device_kind


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def commit() -> str:
    """The commit, marked where the library differs from it."""
    head = _git("rev-parse", "--short=10", "HEAD")
    if not head:
        return "unknown"
    return head + ("-dirty" if _git("status", "--porcelain", "--", "xent_jax") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(("git", *arguments), cwd=_ROOT, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def free_bytes() -> int | None:
    """Memory that the device still has; None where nobody tells."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = {name: value.split()[0] for name, _, value in (s.partition(":") for s in lines)}
    return int(kilobytes["MemAvailable"]) * 1024 if "MemAvailable" in kilobytes else None
