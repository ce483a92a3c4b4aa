-- What the owner wants of one device instead of what the configuration, or the device, says. NULL: as those say.
ALTER TABLE device ADD COLUMN history_interval REAL;                   -- seconds
ALTER TABLE device ADD COLUMN data_mode INTEGER;                       -- 0 it uploads changes only, 1 everything
ALTER TABLE device ADD COLUMN online_rate INTEGER;                     -- milliseconds
ALTER TABLE device ADD COLUMN offline_rate INTEGER;                    -- milliseconds
ALTER TABLE device ADD COLUMN set_port INTEGER;                        -- codes as in module_port
ALTER TABLE device ADD COLUMN set_baud INTEGER;                        -- codes as in module_baud
ALTER TABLE device ADD COLUMN profile TEXT;                            -- a profile's name

-- What somebody asked a device to do, from the moment it was accepted.
CREATE TABLE command (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,   -- given by the daemon
    hostid       TEXT    NOT NULL,
    kind         TEXT    NOT NULL,                    -- modbus, port, reset
    name         TEXT,                                -- of a command of its profile; NULL: frames as given, port, reset
    request      TEXT    NOT NULL,                    -- frames in hex with CRC, joined by ';', or port and baud, or empty
    requester    TEXT    NOT NULL,                    -- who asked, as the door says it
    door         TEXT    NOT NULL,                    -- which way: amp, http
    uid          TEXT    NOT NULL,                    -- six decimal digits
    accepted_at  INTEGER NOT NULL,
    sent_at      INTEGER,                             -- NULL: it never left, or that is not known
    ended_at     INTEGER,                             -- answered, or its outcome was settled otherwise
    outcome      TEXT,                                -- done, refused, timeout, lost, not sent; NULL: it has not ended
    reply        TEXT,                                -- what the device answered
    confirmed    INTEGER,                             -- 1: later uploads showed it, 0: they did not, NULL: not settled
    confirmed_at INTEGER
);

CREATE INDEX command_of_device ON command (hostid, accepted_at);
CREATE INDEX command_by_time ON command (accepted_at);
CREATE INDEX command_by_end ON command (ended_at);                              -- those old enough to be forgotten
CREATE INDEX command_unfinished ON command (outcome) WHERE outcome IS NULL;     -- a handful: those found at a start
