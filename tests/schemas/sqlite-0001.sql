BEGIN TRANSACTION;
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
INSERT INTO "device" VALUES(1,'3439333633355115004B003D','柴油机 № 1 ''quoted'' "twice"; --','scrypt$11$8$1$c2FsdA==$aGFzaA==','HGM6120N-4G',2,9999999,'116.404','-39.915','8848.86',0,0,9007199254740992,1700872746500);
INSERT INTO "device" VALUES(2,'A','',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,1,0,NULL);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('device',2);
COMMIT;
PRAGMA user_version = 1;
