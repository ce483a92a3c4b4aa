"""What is kept, one struct per table. Times are milliseconds since 1970, UTC."""

from msgspec import Struct

__all__ = ["Device"]


class Device(Struct, frozen=True, kw_only=True):
    """A CMM module that has registered or was enrolled.

    ``number`` is its registration number (the paper's ``ymid``), given by the store; 0 before. ``password_hash`` is
    None until the first login. Texts and numbers are as the device sent them at its last login (protocol section 4.1);
    None: never said.
    """

    number: int = 0
    hostid: str
    hostname: str
    password_hash: str | None
    moduletype: str
    module_port: int | None = None
    module_baud: int | None = None
    longitude: str | None = None
    latitude: str | None = None
    altitude: str | None = None
    gpsen: int | None = None
    enabled: bool = True
    registered_at: int
    last_login_at: int | None = None
