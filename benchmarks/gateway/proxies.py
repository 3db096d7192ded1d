"""The proxies side by side: how each is configured. Starts and measures nothing.

Every proxy has one worker or thread, keep-alive to two upstreams in turn, and a line per request in a
file (buffered where it offers that). Each plan is one function of a `Place`, so it can be read alone.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.programs import Place, Plan, free_port


def nginx(place: Place) -> Plan:
    """One worker; lines are gathered in 64 KiB."""
    servers = "".join(f"    server {address} max_fails=0;\n" for address in place.upstreams)
    text = f"""\
{_nginx_head(place)}
  log_format line escape=json '{{"time":"$time_iso8601","method":"$request_method","path":"$uri",'
    '"status":$status,"seconds":$request_time,"instance":"$upstream_addr","request_id":"$request_id",'
    '"client":"$remote_addr"}}';
  access_log {place.folder}/access.log line buffer=64k flush=1s;
  upstream things {{
{servers}    keepalive {max(256, 2 * len(place.upstreams))};
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{place.port} backlog=4096{_nginx_tls(place)};
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


def _nginx_tls(place: Place) -> str:
    """Return the rest of `listen`, and what is said of TLS."""
    if place.tls is None:
        return ""
    return f" ssl;\n    ssl_certificate {place.tls[0]};\n    ssl_certificate_key {place.tls[1]}"


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

    Each answer of `/things/readers` has another ETag, of `/things/strangers` another field beside it;
    `/asked` tells how many requests there were.
    """
    body = json.dumps({"things": [{"id": n, "title": f"Thing {n}", "seen": n * 7} for n in range(4)]})
    text = f"""\
{_nginx_head(place)}
  access_log off;
  sendfile on;
  open_file_cache max=16;
  server {{
    listen {place.port} backlog=4096;
    root {place.folder};
    default_type application/json;
    add_header Upstream {place.port};
    location = /things {{ return 200 '{body}'; }}
    location = /readyz {{ add_header Blog-Instance $http_blog_instance; return 200 '{{}}'; }}
    location = /things/readers {{
      add_header Upstream {place.port};
      add_header ETag $request_id;
      return 200 '{body}';
    }}
    location = /things/strangers {{
      add_header Upstream {place.port};
      add_header ETag $request_id;
      add_header Answer $request_id;
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
    servers = "".join(f"  server s{n} {address}\n" for n, address in enumerate(place.upstreams))
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
frontend public
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
    servers = " ".join(place.upstreams)
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
    servers = "".join(f'          - url: "http://{address}"\n' for address in place.upstreams)
    static = f"""\
global: {{checkNewVersion: false, sendAnonymousUsage: false}}
entryPoints:
  public:
    address: "127.0.0.1:{place.port}"
    transport: {{respondingTimeouts: {{idleTimeout: 600s}}}}
providers: {{file: {{filename: "{place.folder}/routes.yaml", watch: false}}}}
serversTransport: {{maxIdleConnsPerHost: 256}}
accessLog: {{filePath: "{place.folder}/access.log", format: json, bufferingSize: 1000}}
"""
    routes = f"""\
http:
  routers:
    all: {{rule: "PathPrefix(`/`)", entryPoints: [public], service: things}}
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
        stat_prefix="public", use_remote_address=True, route_config={"virtual_hosts": [route]},
        access_log=[{"name": "file", "typed_config": log}],
        http_filters=[{"name": "router", "typed_config": _typed("filters.http.router.v3.Router")}],
    )  # fmt: skip
    filters = [{"name": "manager", "typed_config": manager}]
    listener = {
        "name": "public",
        "address": _envoy_address(f"127.0.0.1:{place.port}"),
        "filter_chains": [{"filters": filters}],
    }
    endpoints = [{"endpoint": {"address": _envoy_address(address)}} for address in place.upstreams]
    cluster = {
        "name": "things", "type": "STATIC", "lb_policy": "ROUND_ROBIN", "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "things", "endpoints": [{"lb_endpoints": endpoints}]},
    }  # fmt: skip
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _typed(kind: str, **fields: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **fields}


def _envoy_address(address: str) -> dict[str, object]:
    host, _, port = address.partition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def ours(place: Place) -> Plan:
    """Our gateway as it comes, but for the limit of writes: one process, a JSON line per request."""
    admin = free_port()
    environ = {
        "BLOG_PUBLIC_PORT": str(place.port), "BLOG_ADMIN_PORT": str(admin), "BLOG_LOG_FORMAT": "json",
        "BLOG_WORKERS": "1", "BLOG_WRITE_RATE": "0",
        "BLOG_REGISTRY": f"http://127.0.0.1:{admin}", "BLOG_DATA_DIR": str(place.folder / "data"),
    }  # fmt: skip
    if place.tls is not None:
        environ |= {"BLOG_TLS_CERT": str(place.tls[0]), "BLOG_TLS_KEY": str(place.tls[1])}
    log = "all, JSON, buffered (0.1 s or 512 lines)"
    return Plan(sys.executable, ["-m", "blog", "gateway"], log, environ=environ, admin=admin)


def ours_errors(place: Place) -> Plan:
    """Our gateway with lines of server errors only."""
    plan = ours(place)
    plan.environ["BLOG_ACCESS_LOG"] = "errors"
    plan.log = "errors only"
    return plan


def ours_of(root: Path) -> Callable[[Place], Plan]:
    """Return the plan of our gateway as it is in another checkout, run by this one's Python."""
    return lambda place: replace(ours(place), root=root)


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
