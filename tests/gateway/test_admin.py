"""The admin API: the token, and the warning where there is none."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from blog.core.settings import Settings
from blog.gateway.admin import admin_app


@pytest.mark.parametrize(
    ("host", "token", "warns"),
    [
        ("0.0.0.0", None, True),
        ("10.0.0.5", None, True),
        ("::", None, True),
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", SecretStr("secret" * 4), False),
    ],
)
def test_an_admin_api_without_a_token_that_others_can_reach_is_one_loud_warning(
    tmp_path: Path, host: str, token: SecretStr | None, *, warns: bool
) -> None:
    """At its start, and it says what to set."""
    with capture_logs() as lines:
        admin_app(Settings(host=host, token=token, data_dir=tmp_path), None)
    found = [line for line in lines if line["event"] == "admin.protected_mode"]
    assert [line["log_level"] for line in found] == ["warning"] * warns
    assert all("BLOG_TOKEN" in line["next"] for line in found)
