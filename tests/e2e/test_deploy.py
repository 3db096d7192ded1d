"""deploy/: compose brings the whole blog up, and Kubernetes would take every manifest."""

import base64
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from blog.core.tokens import parse_tokens
from blog.master.programs import defaults
from tests.e2e.conftest import free_port, wait_until
from tests.e2e.engine import IMAGE, ROOT
from tests.e2e.test_readme import written

BIN = Path(sys.executable).parent


def run(
    program: str, *words: str, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a program that came as a package."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BLOG_")}
    return subprocess.run(
        [str(BIN / program), *words],
        env={**clean, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def call(program: str, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Run a program; return what it printed, fail with what it complained of."""
    done = run(program, *words, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def deploy(tmp_path: Path) -> Path:
    """Copy deploy/ as git has it, without the tokens of whoever works here."""
    folder = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", folder, ignore=shutil.ignore_patterns(".env", "token", "token.env"))
    return folder


def command_in(text: str) -> str:
    """Return the command that makes a token for compose, as a text shows it."""
    [command] = set(re.findall(r"\(printf BLOG_TOKEN=.*?deploy/\.env", text))
    return str(command)


@pytest.fixture
def port() -> int:
    """Find a port of this machine for readers."""
    return free_port()


class Compose:
    """Docker compose on a copy of deploy/compose.yaml, as a project of its own."""

    def __init__(self, file: Path, port: int) -> None:
        self.file = file
        self.project = f"blogtest{uuid.uuid4().hex[:8]}"
        self.environ = {"BLOG_PUBLIC_PORT": str(port), "BLOG_IMAGE": IMAGE}

    def __call__(self, *words: str) -> str:
        """Run a command; return what it printed."""
        return call("docker-compose", "-p", self.project, "-f", str(self.file), *words, env=self.environ)


@pytest.fixture
def compose(client: Any, deploy: Path, port: int) -> Iterator[Compose]:
    """Have a token made by the command that compose prints; nothing is left running."""
    compose = Compose(deploy / "compose.yaml", port)
    yield compose
    compose("down", "-v", "--timeout", "10")


def make_token(deploy: Path) -> None:
    """Do what README says."""
    command = command_in((ROOT / "README.md").read_text())
    subprocess.run(["sh", "-ec", command], cwd=deploy.parent, check=True, timeout=20)


@pytest.mark.timeout(300)
def test_compose_up_scale_and_down(compose: Compose, deploy: Path, port: int) -> None:
    """Every container gets healthy; comments go from one to three and back."""
    make_token(deploy)
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

    compose("up", "-d", "--no-build")
    compose("up", "-d", "--no-build", "--wait", "--scale", "comments=3")
    assert requests.get(url, timeout=10).status_code == 200
    post = requests.post(f"{url}/posts", json={"title": "Hello"}, timeout=10).json()["id"]
    wait_until(partial(shares, post, 3), 30)
    compose("up", "-d", "--no-build", "--scale", "comments=1")
    wait_until(partial(shares, post, 1), 30)


@pytest.mark.parametrize("words", [["up", "-d"], ["config"], ["down"], ["logs"], ["ps"]], ids=" ".join)
@pytest.mark.parametrize("token", [None, ""], ids=["unset", "empty"])
def test_compose_refuses_without_a_token(deploy: Path, words: list[str], token: str | None) -> None:
    """Whatever it is asked; it prints the command that makes one, and after that it is content."""
    file = ["-f", str(deploy / "compose.yaml")]
    environ = {} if token is None else {"BLOG_TOKEN": token}
    refused = run("docker-compose", *file, *words, env=environ)
    assert refused.returncode != 0
    assert "BLOG_TOKEN" in refused.stderr
    command = command_in(refused.stderr)
    assert command == command_in((ROOT / "README.md").read_text())
    subprocess.run(["sh", "-ec", command], cwd=deploy.parent, check=True, timeout=20)
    services = yaml.safe_load(call("docker-compose", *file, "config"))["services"]
    [made] = {service["environment"]["BLOG_TOKEN"] for service in services.values()}
    assert parse_tokens(made) == (made,)
    assert len(made) == 64


@pytest.mark.timeout(300)
def test_compose_with_the_token_in_a_file(compose: Compose, deploy: Path, port: int) -> None:
    """As its comments say: one line less, those with two `#` uncommented, and the user may read it."""
    text = re.sub(r"^    BLOG_TOKEN: .*\n", "", compose.file.read_text(), flags=re.MULTILINE)
    compose.file.write_text(re.sub(r"^( *)## ", r"\1", text, flags=re.MULTILINE))
    (deploy / "token").write_text("token-of-a-composed-blog\n")
    (deploy / "token").chmod(0o444)  # whoever runs the tests may be nobody who can give files away
    for folder in (deploy, *deploy.parents[:2]):
        folder.chmod(0o755)
    services = yaml.safe_load(compose("config"))["services"]
    for service in services.values():
        assert "BLOG_TOKEN" not in service["environment"]
        assert service["environment"]["BLOG_TOKEN_FILE"] == "/run/secrets/token"
    compose("up", "-d", "--no-build", "gateway", "bus", "posts")
    wait_until(lambda: written(f"http://127.0.0.1:{port}/posts", {"title": "Hello"}), 60)


def test_tokens_are_no_part_of_the_repository() -> None:
    """Git ignores every file that README and the comments have people make."""
    for path in ("deploy/.env", "deploy/token", "deploy/kubernetes/token.env"):
        assert f"/{path}" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_service_is_deployed() -> None:
    """A new service needs its lines here: nobody forgets them."""
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    base = yaml.safe_load((ROOT / "deploy/kubernetes/kustomization.yaml").read_text())
    assert set(compose["services"]) == set(defaults())
    assert {name.removesuffix(".yaml") for name in base["resources"]} == set(defaults())


def test_kubernetes_takes_every_manifest(deploy: Path, tmp_path: Path) -> None:
    """What kustomize renders fits the schemas of Kubernetes, strictly."""
    make_kubernetes_token(deploy)
    rendered = call("kubectl", "kustomize", str(deploy / "kubernetes"))
    path = tmp_path / "base.yaml"
    path.write_text(rendered)
    call("kubernetes-validate", "--strict", str(path))
    kinds = [document["kind"] for document in yaml.safe_load_all(rendered)]
    assert kinds.count("Deployment") == len(defaults()) - 1
    assert kinds.count("StatefulSet") == 1


def make_kubernetes_token(deploy: Path) -> None:
    """Do what README says."""
    [command] = re.findall(
        r"^printf 'token=.*token\.env$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    subprocess.run(["sh", "-ec", command], cwd=deploy.parent, check=True, timeout=20)


def test_kubernetes_gives_every_pod_the_token(deploy: Path) -> None:
    """One secret, whose name has a hash of it: another token replaces the pods; none starts without."""
    secrets = []
    for _ in range(2):
        make_kubernetes_token(deploy)
        documents = list(yaml.safe_load_all(call("kubectl", "kustomize", str(deploy / "kubernetes"))))
        [secret] = [document for document in documents if document["kind"] == "Secret"]
        token = base64.b64decode(secret["data"]["token"]).decode()
        assert parse_tokens(token) == (token,)
        pods = [document for document in documents if document["kind"] in ("Deployment", "StatefulSet")]
        assert len(pods) == len(defaults())
        for pod in pods:
            [container] = pod["spec"]["template"]["spec"]["containers"]
            [given] = [item for item in container["env"] if item["name"] == "BLOG_TOKEN"]
            reference = {"name": secret["metadata"]["name"], "key": "token"}
            assert given["valueFrom"] == {"secretKeyRef": reference}
        secrets.append(secret["metadata"]["name"])
    assert len(set(secrets)) == 2


def test_kubernetes_refuses_without_a_token(deploy: Path) -> None:
    """Kustomize names the file that is missing; nothing is rendered."""
    refused = run("kubectl", "kustomize", str(deploy / "kubernetes"))
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert "token.env" in refused.stderr
