"""What one level of an MQTT topic may be where edged names it: the prefix, a device, a model."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_LEVEL = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"


def check_topic_level(value: str) -> str:
    """Return one level of an MQTT topic that is also a safe file name.

    Raises:
        ValueError: It is none; says what one may be.
    """
    if not re.fullmatch(_LEVEL, value):
        raise ValueError("use 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit")
    return value


TopicLevel = Annotated[str, AfterValidator(check_topic_level), Field(json_schema_extra={"pattern": f"^{_LEVEL}$"})]
