BEGIN TRANSACTION;
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
INSERT INTO "alarm" VALUES(1,'A','low_oil','Low oil','warning',1000,NULL,NULL,NULL);
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
, overridden TEXT, address TEXT);
INSERT INTO "command" VALUES(1,'A','reset',NULL,'','','amp','100000',1000,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "command" VALUES(2,'3439333633355115004B003D','modbus','auto','01050003FF007C3A;0105000300003DCA','Zoë "the boss" ''; --','http','000042',2000,2001,9007199254740992,'done','1;1',1,2003,'remote_inhibited','192.0.2.7');
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
, wgs84_longitude REAL, wgs84_latitude REAL, para_command TEXT NOT NULL DEFAULT '', byte_order TEXT, history_interval REAL, data_mode INTEGER, online_rate INTEGER, offline_rate INTEGER, set_port INTEGER, set_baud INTEGER, profile TEXT, last_login_address TEXT, lock_reason TEXT, locked_by TEXT, locked_at INTEGER, input_reports TEXT NOT NULL DEFAULT '', evidence TEXT NOT NULL DEFAULT '', read_as TEXT, oldest_undecided_at INTEGER, history INTEGER NOT NULL DEFAULT 0);
INSERT INTO "device" VALUES(1,'3439333633355115004B003D','柴油机 № 1 ''quoted'' "twice"; --','scrypt$11$8$1$c2FsdA==$aGFzaA==','HGM6120N-4G',2,9999999,'116.404','-39.915','8848.86',0,0,9007199254740992,1700872746500,116.3914,-39.9136,'01010000005ABC31;01030000002D85D7','big',7.5,1,3000,9007199254740992,2,1,'hgm6120n, ''mine''','2001:db8::7','Zoë''s "belt"; --','token bob',9007199254740992,'{"fire_alarm":{"active":true}}','{"scale":["tenths",3,1700872746500,"register 6 = 600",0]}','byte_order=big, scale=tenths',1700872746500,1);
INSERT INTO "device" VALUES(2,'A','',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,1,0,NULL,NULL,NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'','',NULL,NULL,0);
CREATE TABLE event (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,        -- given by the daemon
    at      INTEGER NOT NULL,
    hostid  TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    details TEXT    NOT NULL                          -- a JSON object
);
INSERT INTO "event" VALUES(1,1000,'A','login','{}');
INSERT INTO "event" VALUES(2,2000,'3439333633355115004B003D','command','{"name":"柴油机 \"1\" ''; --","count":-3,"big":9007199254740992,"seconds":0.25,"right":true,"nothing":null}');
CREATE TABLE last_upload (
    hostid    TEXT    PRIMARY KEY NOT NULL,
    upload    INTEGER NOT NULL,                       -- its running number
    at        INTEGER NOT NULL,
    unit      INTEGER,                                -- the Modbus unit that answered last
    kept_at   INTEGER,                                -- when an upload last became a reading
    inputs    INTEGER NOT NULL,                       -- this and below as in reading
    image     BLOB    NOT NULL,
    undecided BLOB    NOT NULL
, counters BLOB NOT NULL DEFAULT x'');
INSERT INTO "last_upload" VALUES('A',1,1000,NULL,NULL,0,X'',X'',X'');
CREATE TABLE point (
    profile  INTEGER NOT NULL,                        -- profile.number
    place    INTEGER NOT NULL,                        -- from 0
    name     TEXT    NOT NULL,
    title    TEXT    NOT NULL,
    unit     TEXT    NOT NULL,
    decimals INTEGER NOT NULL,                        -- how many of a value count
    PRIMARY KEY (profile, place)
) WITHOUT ROWID;
INSERT INTO "point" VALUES(1,0,'speed','Speed','r/min',0);
INSERT INTO "point" VALUES(1,1,'volts_a','U₁','V',1);
CREATE TABLE profile (
    number      INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL                      -- tells two versions of one profile apart
);
INSERT INTO "profile" VALUES(1,'hgm6120n','f1');
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
, source TEXT NOT NULL DEFAULT '');
INSERT INTO "reading" VALUES(1,'A',1000,'first',0,1,0,X'',X'',X'','');
INSERT INTO "reading" VALUES(9007199254740992,'3439333633355115004B003D',1700872746500,'change',3,7,15,X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B',X'00FF',X'000000000000003F0000C07F00A088C300FF7F47','setting 192.0.2.7');
CREATE TABLE store (
    identity TEXT NOT NULL,                           -- random, given once
    writer   TEXT NOT NULL                            -- identity of the spool that last belonged to it; empty: none
);
INSERT INTO "store" VALUES('58a29e68359ddebb35708f16d2ff942c','');
CREATE INDEX reading_of_device ON reading (hostid, at);
CREATE INDEX reading_by_time ON reading (at);
CREATE INDEX alarm_of_device ON alarm (hostid, raised_at);
CREATE INDEX alarm_by_time ON alarm (raised_at);
CREATE INDEX alarm_by_end ON alarm (cleared_at);
CREATE INDEX event_of_device ON event (hostid, at);
CREATE INDEX event_by_time ON event (at);
CREATE INDEX command_of_device ON command (hostid, accepted_at);
CREATE INDEX command_by_time ON command (accepted_at);
CREATE INDEX command_by_end ON command (ended_at);
CREATE INDEX command_unfinished ON command (outcome) WHERE outcome IS NULL;
CREATE UNIQUE INDEX reading_dated ON reading (hostid, at, (length(image) > 1)) WHERE source <> '';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('device',2);
INSERT INTO "sqlite_sequence" VALUES('reading',9007199254740992);
INSERT INTO "sqlite_sequence" VALUES('alarm',1);
INSERT INTO "sqlite_sequence" VALUES('event',2);
INSERT INTO "sqlite_sequence" VALUES('command',2);
COMMIT;
PRAGMA user_version = 7;
