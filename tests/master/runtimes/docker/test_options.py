"""What a container is made with."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blog.core.settings import Settings
from blog.master.runtimes.docker.options import environment, options, ports

MINE = {"blog.name": "blog", "blog.data_dir": "/data"}
TOLD = {
    "BLOG_MODERATION_WORDS": "apple",
    "BLOG_LOG_LEVEL": "debug",
    "BLOG_HOST": "10.0.0.1",
    "BLOG_DATA_DIR": "/home/me",
    "BLOG_PUBLIC_PORT": "9999",
    "BLOG_REGISTRY": "http://elsewhere:1",
    "BLOG_TOKEN": "another",
    "HOME": "/home/me",
}


def settings(**changes: Any) -> Settings:
    """Return settings with a token and ports."""
    return Settings(token=SecretStr("t" * 16), public_port=8888, admin_port=4444).model_copy(
        update=changes
    )


def made(service: str, **changes: Any) -> dict[str, Any]:
    """Return the options of the second replica of a service."""
    return options(settings(**changes), service, f"{service}-2", MINE, {})


def test_it_is_called_as_people_say_and_labelled_as_whose_it_is() -> None:
    """And runs the service by its name, with no more rights than it needs."""
    found = made("comments", name="mine", image="blog:2")
    assert (found["name"], found["network"]) == ("mine-comments-2", "mine")
    assert (found["image"], found["command"]) == ("blog:2", ["comments"])
    assert found["labels"] == MINE | {"blog.service": "comments", "blog.copy": "comments-2"}
    assert found["read_only"]
    assert found["cap_drop"] == ["ALL"]


def test_settings_go_along_but_for_what_means_this_machine() -> None:
    """The token and where the registry is are the master's to say."""
    assert environment(settings(), TOLD) == {
        "BLOG_MODERATION_WORDS": "apple",
        "BLOG_LOG_LEVEL": "debug",
        "BLOG_TOKEN": "t" * 16,
        "BLOG_REGISTRY": "http://blog-gateway-1:4000",
    }


def test_only_the_gateway_has_ports_and_only_the_bus_a_volume() -> None:
    """The only data that has to be kept."""
    assert made("gateway")["ports"]
    assert [mount["Source"] for mount in made("bus")["mounts"]] == ["blog-log"]
    for service in ("posts", "web"):
        assert made(service)["ports"] == {}
        assert made(service)["mounts"] == []
    assert made("bus")["ports"] == {}


@pytest.mark.parametrize(
    ("host", "admin"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("192.168.1.5", "192.168.1.5"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("::1", "::1"),
        ("2001:db8::5", "2001:db8::5"),
    ],
)
def test_the_admin_port_is_published_no_further_than_this_machine(host: str, admin: str) -> None:
    """Unless BLOG_HOST names an address: there a gateway that is a process has it too."""
    assert ports(settings(host=host)) == {"8080/tcp": (host, 8888), "4000/tcp": (admin, 4444)}


def test_the_engine_gets_an_address_for_the_name_localhost() -> None:
    """It would take a name for every address, or for a mistake."""
    published = ports(settings(host="localhost"))
    assert published == {"8080/tcp": ("127.0.0.1", 8888), "4000/tcp": ("127.0.0.1", 4444)}


def test_a_certificate_is_mounted_by_its_folder(tmp_path: Path) -> None:
    """So that a new one is seen; for the gateway only, and both may be in one."""
    tls = {"tls_cert": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
    mounts = made("gateway", **tls)["mounts"]
    assert [(mount["Source"], mount["Target"]) for mount in mounts] == [
        (str(tmp_path), "/tls/TLS_CERT"),
        (str(tmp_path), "/tls/TLS_KEY"),
    ]
    assert all(mount["ReadOnly"] for mount in mounts)
    assert environment(settings(**tls), {})["BLOG_TLS_KEY"] == "/tls/TLS_KEY/key.pem"
    assert made("web", **tls)["mounts"] == []
