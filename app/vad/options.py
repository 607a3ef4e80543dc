"""What options of every kind have in common: they are read from raw text, checked, and named in every refusal.

An options class is the single place that knows its options' names, defaults, units, ranges and meanings: HTTP
parameters, the command line, the page and the documents are made from it. An instance is frozen.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from app.vad.errors import InvalidOption


class Options(BaseModel):
    """Base. Raises `InvalidOption` through `parse`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True)

    @classmethod
    def parse(cls, *layers: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> Self:
        """Merge layers of raw values (strings allowed), the later ones winning, and check them. `given` wins over all
        layers: what somebody set on purpose.

        Raises `InvalidOption` naming the first option that is unknown, of the wrong type, out of range, or in
        contradiction with another.
        """
        given = given or {}
        merged = {name: value for layer in (*layers, given) for name, value in layer.items()}
        try:
            return cls.model_validate(cls.adapt_defaults(merged, given))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            name = str(problem["loc"][0]) if problem["loc"] else "options"
            if problem["type"] == "extra_forbidden":
                known = ", ".join(cls.names())
                raise InvalidOption(name[:64], f"there is no such option; there are: {known}") from None
            reason = problem["msg"]
            raise InvalidOption(name, reason[:1].lower() + reason[1:]) from None

    @classmethod
    def adapt_defaults(cls, merged: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Let defaults follow what was set on purpose, where they would contradict it."""
        return merged

    @classmethod
    def names(cls) -> list[str]:
        """Every option's name, by weight."""
        return list(cls.model_fields)

    @classmethod
    def those_of(cls, layer: Mapping[str, Any]) -> dict[str, Any]:
        """The values of a layer that are for options of this class."""
        fields = cls.model_fields
        return {name: value for name, value in layer.items() if name in fields}
