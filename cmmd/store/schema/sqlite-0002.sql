-- Coordinates that maps can use, and what a device was told and was found to do.
ALTER TABLE device ADD COLUMN wgs84_longitude REAL;                    -- degrees, NULL: not known
ALTER TABLE device ADD COLUMN wgs84_latitude REAL;                     -- degrees, NULL: not known
ALTER TABLE device ADD COLUMN para_command TEXT NOT NULL DEFAULT '';   -- polling plan of its last login
ALTER TABLE device ADD COLUMN byte_order TEXT;                         -- of registers in change uploads: little, big,
                                                                       -- NULL: not decided, or its profile says it

-- The points of a controller profile as they once were: readings bear this number. Never changed, never deleted.
CREATE TABLE profile (
    number      INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL                      -- tells two versions of one profile apart
);

-- What one place of reading.points means in one profile version.
CREATE TABLE point (
    profile  INTEGER NOT NULL,                        -- profile.number
    place    INTEGER NOT NULL,                        -- from 0
    name     TEXT    NOT NULL,
    title    TEXT    NOT NULL,
    unit     TEXT    NOT NULL,
    decimals INTEGER NOT NULL,                        -- how many of a value count
    PRIMARY KEY (profile, place)
) WITHOUT ROWID;

-- An upload that was kept. AUTOINCREMENT: the highest number is known even when its row has been deleted.
CREATE TABLE reading (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,     -- given by the daemon
    hostid     TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    reason     TEXT    NOT NULL,                      -- first, change, interval, historic
    suppressed INTEGER NOT NULL,                      -- changes since the last kept upload that were left out
    profile    INTEGER NOT NULL,                      -- profile.number
    inputs     INTEGER NOT NULL,                      -- the device's own four inputs, as bits
    image      BLOB    NOT NULL,                      -- all registers and coils known then
    undecided  BLOB    NOT NULL,                      -- registers whose byte order was not decided, the same form
    points     BLOB    NOT NULL                       -- engineering values: little-endian floats of 4 bytes, NaN: none
);

-- number is the rowid, which stands behind every index: each of these is in the order of (at, number).
CREATE INDEX reading_of_device ON reading (hostid, at);
CREATE INDEX reading_by_time ON reading (at);

-- The newest upload of each device, so that a restart forgets nothing.
CREATE TABLE last_upload (
    hostid    TEXT    PRIMARY KEY NOT NULL,
    upload    INTEGER NOT NULL,                       -- its running number
    at        INTEGER NOT NULL,
    unit      INTEGER,                                -- the Modbus unit that answered last
    kept_at   INTEGER,                                -- when an upload last became a reading
    inputs    INTEGER NOT NULL,                       -- this and below as in reading
    image     BLOB    NOT NULL,
    undecided BLOB    NOT NULL
);

-- A signal with a severity that is or was active.
CREATE TABLE alarm (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,  -- given by the daemon
    hostid          TEXT    NOT NULL,
    signal          TEXT    NOT NULL,
    title           TEXT    NOT NULL,                 -- the signal's
    severity        TEXT    NOT NULL,                 -- alarm, warning, shutdown
    raised_at       INTEGER NOT NULL,
    acknowledged_at INTEGER,
    acknowledged_by TEXT,
    cleared_at      INTEGER                           -- NULL: open
);

CREATE INDEX alarm_of_device ON alarm (hostid, raised_at);
CREATE INDEX alarm_by_time ON alarm (raised_at);
CREATE INDEX alarm_by_end ON alarm (cleared_at);      -- the open ones, and those old enough to be forgotten

-- A dated fact.
CREATE TABLE event (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,        -- given by the daemon
    at      INTEGER NOT NULL,
    hostid  TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    details TEXT    NOT NULL                          -- a JSON object
);

CREATE INDEX event_of_device ON event (hostid, at);
CREATE INDEX event_by_time ON event (at);
