"""deploy/: compose brings the whole blog up, and Kubernetes would take every manifest."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
import requests
import yaml

from blog.master.programs import defaults
from tests.e2e.conftest import free_port, wait_until
from tests.e2e.engine import IMAGE, ROOT, build, connect

BIN = Path(sys.executable).parent
Compose = Callable[..., str]


def call(program: str, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Run a program that came as a package; return what it printed, fail with what it complained of."""
    done = subprocess.run(
        [str(BIN / program), *words], env=env, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def port() -> int:
    """Find a port of this machine for readers."""
    return free_port()


@pytest.fixture
def compose(port: int) -> Iterator[Compose]:
    """Run docker compose on deploy/compose.yaml, as a project of its own."""
    client = connect()
    build(client)
    client.close()
    project = f"blogtest{uuid.uuid4().hex[:8]}"
    environ = os.environ | {"BLOG_PUBLIC_PORT": str(port), "BLOG_IMAGE": IMAGE}

    def run(*words: str) -> str:
        file = f"{ROOT}/deploy/compose.yaml"
        return call("docker-compose", "-p", project, "-f", file, *words, env=environ)

    yield run
    run("down", "-v", "--timeout", "10")


@pytest.mark.timeout(300)
def test_compose_up_scale_and_down(compose: Compose, port: int) -> None:
    """Every container gets healthy; comments go from one to three and back."""
    url = f"http://127.0.0.1:{port}"

    def served(post: str) -> set[str]:
        answers = [
            requests.post(f"{url}/posts/{post}/comments", json={"content": "x"}, timeout=10)
            for _ in range(9)
        ]
        assert {answer.status_code for answer in answers} == {201}
        return {answer.headers["Blog-Served-By"] for answer in answers}

    def shares(post: str, replicas: int) -> bool:
        return len(served(post)) == replicas

    compose("up", "-d", "--no-build", "--wait")
    assert requests.get(url, timeout=10).status_code == 200
    post = requests.post(f"{url}/posts", json={"title": "Hello"}, timeout=10).json()["id"]
    for replicas in (3, 1):
        compose("up", "-d", "--no-build", "--wait", "--scale", f"comments={replicas}")
        wait_until(partial(shares, post, replicas), 30)


def test_every_service_is_deployed() -> None:
    """A new service needs its lines here: nobody forgets them."""
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    base = yaml.safe_load((ROOT / "deploy/kubernetes/kustomization.yaml").read_text())
    assert set(compose["services"]) == set(defaults())
    assert {name.removesuffix(".yaml") for name in base["resources"]} == set(defaults())


def test_kubernetes_takes_every_manifest(tmp_path: Path) -> None:
    """What kustomize renders fits the schemas of Kubernetes, strictly."""
    rendered = call("kubectl", "kustomize", f"{ROOT}/deploy/kubernetes")
    path = tmp_path / "base.yaml"
    path.write_text(rendered)
    call("kubernetes-validate", "--strict", str(path))
    kinds = [document["kind"] for document in yaml.safe_load_all(rendered)]
    assert kinds.count("Deployment") == len(defaults()) - 1
    assert kinds.count("StatefulSet") == 1
