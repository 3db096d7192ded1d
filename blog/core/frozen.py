"""Frozen: the base of what instances tell each other. A message of a newer version is understood."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """Plain data that does not change; fields that are not known (of a newer version) are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
