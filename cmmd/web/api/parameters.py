"""Parameters that several operations have."""

from typing import Annotated, Literal

from msgspec import Meta

__all__ = ["After", "Limit", "Moment", "Order", "Search"]

Limit = Annotated[int, Meta(ge=1, le=1000, description="Most records of this page.")]
Order = Literal["asc", "desc"]
Search = Annotated[str, Meta(max_length=100, description="Part of a hostid, a name or a model, in any case.")]
After = Annotated[str, Meta(max_length=200, description="`next` of the page before: where this one begins.")]
Moment = Annotated[int, Meta(ge=0, le=253_402_300_799_999, description="Milliseconds since 1970, UTC.")]
