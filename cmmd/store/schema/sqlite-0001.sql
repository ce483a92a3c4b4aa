-- A CMM module that has registered or was enrolled. Times are milliseconds since 1970, UTC.
CREATE TABLE device (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,  -- registration number (the paper's ymid), never reused
    hostid        TEXT    NOT NULL UNIQUE,
    hostname      TEXT    NOT NULL,
    password_hash TEXT,                               -- NULL until the first login
    moduletype    TEXT    NOT NULL,                   -- controller model, as the device says it
    module_port   INTEGER,                            -- 0 off, 1 LINK, 2 RS485, 3 RS232, 4 USB
    module_baud   INTEGER,                            -- 0 9600, 1 19200, 2 115200 bit/s
    longitude     TEXT,
    latitude      TEXT,
    altitude      TEXT,
    gpsen         INTEGER,                            -- 0 BD-09 coordinates, 1 WGS-84
    enabled       INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    last_login_at INTEGER
);
