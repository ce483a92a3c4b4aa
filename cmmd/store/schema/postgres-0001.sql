-- The tables of cmmd in PostgreSQL 13 or later. Names are not qualified: search_path says in which schema they are.

CREATE TABLE schema_version (
    number     integer     PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE schema_version IS 'The numbered SQL files of cmmd that this database has seen.';
COMMENT ON COLUMN schema_version.number IS 'Number of the file; the highest one is the version of the schema.';
COMMENT ON COLUMN schema_version.applied_at IS 'When it was applied.';

CREATE TABLE store (
    identity text   NOT NULL,
    writer   text   NOT NULL,
    openings bigint NOT NULL
);
INSERT INTO store (identity, writer, openings) VALUES (replace(gen_random_uuid()::text, '-', ''), '', 0);
COMMENT ON TABLE store IS 'This store, and who writes to it: one row.';
COMMENT ON COLUMN store.identity IS 'Random, given once.';
COMMENT ON COLUMN store.writer IS 'Identity of the spool that last belonged to this store; empty: none.';
COMMENT ON COLUMN store.openings IS 'How often a cmmd has opened it: tells one that was cut off whether another has been here since.';

CREATE TABLE counter (
    kind    text   PRIMARY KEY,
    highest bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO counter (kind, highest) VALUES ('device', 0), ('reading', 0), ('alarm', 0), ('event', 0), ('command', 0);
COMMENT ON TABLE counter IS 'The highest number that has been given in a table, also where its row is deleted by now: none comes again.';
COMMENT ON COLUMN counter.kind IS 'Which table.';
COMMENT ON COLUMN counter.highest IS 'The highest number given, or reserved; 0: none.';

CREATE TABLE device (
    number           bigint           PRIMARY KEY,
    hostid           text             NOT NULL UNIQUE,
    hostname         text             NOT NULL,
    password_hash    text,
    moduletype       text             NOT NULL,
    module_port      bigint,
    module_baud      bigint,
    longitude        text,
    latitude         text,
    altitude         text,
    gpsen            bigint,
    wgs84_longitude  double precision,
    wgs84_latitude   double precision,
    para_command     text             NOT NULL,
    byte_order       text,
    history_interval double precision,
    data_mode        bigint,
    online_rate      bigint,
    offline_rate     bigint,
    set_port         bigint,
    set_baud         bigint,
    profile          text,
    enabled          boolean          NOT NULL,
    registered_at    timestamptz(3)   NOT NULL,
    last_login_at    timestamptz(3)
) WITH (fillfactor = 80);
COMMENT ON TABLE device IS 'A CMM module that has registered or was enrolled. Texts and numbers are as it sent them at its last login; NULL: never said.';
COMMENT ON COLUMN device.number IS 'Registration number, from 1, never reused.';
COMMENT ON COLUMN device.hostid IS 'The module''s own id; all other tables name devices by it.';
COMMENT ON COLUMN device.hostname IS 'Its name, as its owner set it in the module.';
COMMENT ON COLUMN device.password_hash IS 'scrypt; NULL until the first login.';
COMMENT ON COLUMN device.moduletype IS 'Controller model, as the device says it.';
COMMENT ON COLUMN device.module_port IS 'Port to the controller: 0 off, 1 LINK, 2 RS485, 3 RS232, 4 USB.';
COMMENT ON COLUMN device.module_baud IS 'Its speed: 0 9600, 1 19200, 2 115200 bit/s.';
COMMENT ON COLUMN device.longitude IS 'As the device says it; gpsen tells in which system.';
COMMENT ON COLUMN device.latitude IS 'As the device says it; gpsen tells in which system.';
COMMENT ON COLUMN device.altitude IS 'As the device says it.';
COMMENT ON COLUMN device.gpsen IS 'System of its coordinates: 0 BD-09, 1 WGS-84.';
COMMENT ON COLUMN device.wgs84_longitude IS 'Degrees for any map; NULL: not known.';
COMMENT ON COLUMN device.wgs84_latitude IS 'Degrees for any map; NULL: not known.';
COMMENT ON COLUMN device.para_command IS 'The polling plan it was given at its last login: Modbus requests in hex, joined by ";".';
COMMENT ON COLUMN device.byte_order IS 'Of registers in its change uploads: little or big; NULL: not decided, or its profile says it.';
COMMENT ON COLUMN device.history_interval IS 'Owner''s: a reading is kept every so many seconds; NULL: as the configuration says.';
COMMENT ON COLUMN device.data_mode IS 'Owner''s: 0 it uploads changes only, 1 everything; NULL: as the configuration says.';
COMMENT ON COLUMN device.online_rate IS 'Owner''s: milliseconds between uploads while somebody watches; NULL: as the configuration says.';
COMMENT ON COLUMN device.offline_rate IS 'Owner''s: milliseconds between uploads else; NULL: as the configuration says.';
COMMENT ON COLUMN device.set_port IS 'Owner''s: the port to set, codes as in module_port; NULL: as the device says.';
COMMENT ON COLUMN device.set_baud IS 'Owner''s: the speed to set, codes as in module_baud; NULL: as the device says.';
COMMENT ON COLUMN device.profile IS 'Owner''s: name of its controller profile; NULL: by moduletype.';
COMMENT ON COLUMN device.enabled IS 'Whether it may log in.';
COMMENT ON COLUMN device.registered_at IS 'First login or enrolment.';
COMMENT ON COLUMN device.last_login_at IS 'NULL: none yet.';

CREATE TABLE profile (
    number      bigint PRIMARY KEY,
    name        text   NOT NULL,
    fingerprint text   NOT NULL
);
COMMENT ON TABLE profile IS 'The points of a controller profile as they once were. Never changed, never deleted: one whose points change gets a new number.';
COMMENT ON COLUMN profile.number IS 'Readings bear it.';
COMMENT ON COLUMN profile.name IS 'Name of the controller profile.';
COMMENT ON COLUMN profile.fingerprint IS 'Tells two versions of one profile apart.';

CREATE TABLE point (
    profile  bigint  NOT NULL REFERENCES profile (number),
    place    integer NOT NULL,
    name     text    NOT NULL,
    title    text    NOT NULL,
    unit     text    NOT NULL,
    decimals bigint  NOT NULL,
    PRIMARY KEY (profile, place)
);
CREATE INDEX point_by_name ON point (profile, name);
COMMENT ON TABLE point IS 'What one place of reading.points means in one profile version.';
COMMENT ON COLUMN point.profile IS 'profile.number.';
COMMENT ON COLUMN point.place IS 'From 0: the value is reading.points[place + 1].';
COMMENT ON COLUMN point.name IS 'Such as generator_frequency.';
COMMENT ON COLUMN point.title IS 'For people.';
COMMENT ON COLUMN point.unit IS 'Such as Hz; empty: none.';
COMMENT ON COLUMN point.decimals IS 'How many of a value count.';

-- Wide columns first: less padding in each of very many rows.
CREATE TABLE reading (
    number     bigint         NOT NULL,
    at         timestamptz(3) NOT NULL,
    profile    integer        NOT NULL,
    suppressed integer        NOT NULL,
    inputs     smallint       NOT NULL,
    hostid     text           NOT NULL,
    reason     text           NOT NULL,
    image      bytea          NOT NULL,
    undecided  bytea          NOT NULL,
    points     real[]         NOT NULL,
    PRIMARY KEY (at, number) WITH (fillfactor = 100)
) PARTITION BY RANGE (at);
CREATE INDEX reading_of_device ON reading (hostid, at, number);
COMMENT ON TABLE reading IS 'An upload that was kept; a partition a month (UTC), reading_YYYYMM.';
COMMENT ON COLUMN reading.number IS 'Given by cmmd; together with at the same one for the same upload.';
COMMENT ON COLUMN reading.at IS 'When the upload came.';
COMMENT ON COLUMN reading.profile IS 'profile.number: what the places of points mean.';
COMMENT ON COLUMN reading.suppressed IS 'Uploads with changes since the last kept one that were left out because there were too many.';
COMMENT ON COLUMN reading.inputs IS 'The device''s own inputs: bits 0 to 3 door, fire, alarm, remote control inhibited; bits 4 to 7: which of them are known.';
COMMENT ON COLUMN reading.hostid IS 'device.hostid.';
COMMENT ON COLUMN reading.reason IS 'Why it was kept: first, change, interval, historic.';
COMMENT ON COLUMN reading.image IS 'All registers and coils known then: byte 01, then for each run of addresses function (1 byte: 1 coils, 2 discrete inputs, 3 holding, 4 input registers), first address, count less 1 (2 bytes each, big-endian), the values as Modbus has them.';
COMMENT ON COLUMN reading.undecided IS 'Registers whose byte order was uncertain, read little-endian, in the same form; newer than those of image. Empty: none.';
COMMENT ON COLUMN reading.points IS 'Engineering values in the order of point.place, in single precision; NULL: no data, not known or not certain.';

CREATE TABLE last_upload (
    hostid    text           PRIMARY KEY,
    upload    bigint         NOT NULL,
    at        timestamptz(3) NOT NULL,
    unit      bigint,
    kept_at   timestamptz(3),
    inputs    bigint         NOT NULL,
    image     bytea          NOT NULL,
    undecided bytea          NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE last_upload IS 'What was known of a device when cmmd ended, or with its last reading, so that a restart forgets nothing.';
COMMENT ON COLUMN last_upload.hostid IS 'device.hostid.';
COMMENT ON COLUMN last_upload.upload IS 'Running number of its newest upload.';
COMMENT ON COLUMN last_upload.at IS 'When that came.';
COMMENT ON COLUMN last_upload.unit IS 'The Modbus unit that answered last.';
COMMENT ON COLUMN last_upload.kept_at IS 'When an upload of it last became a reading; NULL: never.';
COMMENT ON COLUMN last_upload.inputs IS 'As reading.inputs.';
COMMENT ON COLUMN last_upload.image IS 'As reading.image.';
COMMENT ON COLUMN last_upload.undecided IS 'As reading.undecided.';

CREATE TABLE alarm (
    number          bigint         PRIMARY KEY,
    hostid          text           NOT NULL,
    signal          text           NOT NULL,
    title           text           NOT NULL,
    severity        text           NOT NULL,
    raised_at       timestamptz(3) NOT NULL,
    acknowledged_at timestamptz(3),
    acknowledged_by text,
    cleared_at      timestamptz(3)
);
CREATE INDEX alarm_of_device ON alarm (hostid, raised_at, number);
CREATE INDEX alarm_by_time ON alarm (raised_at, number);
CREATE INDEX alarm_by_end ON alarm (cleared_at, number) WHERE cleared_at IS NOT NULL;  -- to be forgotten
CREATE INDEX alarm_open ON alarm (number) WHERE cleared_at IS NULL;
COMMENT ON TABLE alarm IS 'A signal with a severity that is or was active.';
COMMENT ON COLUMN alarm.number IS 'Given by cmmd.';
COMMENT ON COLUMN alarm.hostid IS 'device.hostid.';
COMMENT ON COLUMN alarm.signal IS 'Name of the signal in its profile, or one that cmmd raises itself.';
COMMENT ON COLUMN alarm.title IS 'The signal''s, for people.';
COMMENT ON COLUMN alarm.severity IS 'warning, shutdown or alarm.';
COMMENT ON COLUMN alarm.raised_at IS 'When it was first seen active.';
COMMENT ON COLUMN alarm.acknowledged_at IS 'When somebody took note of it; NULL: nobody has.';
COMMENT ON COLUMN alarm.acknowledged_by IS 'Who did.';
COMMENT ON COLUMN alarm.cleared_at IS 'NULL: open.';

CREATE TABLE event (
    number  bigint         PRIMARY KEY,
    at      timestamptz(3) NOT NULL,
    hostid  text           NOT NULL,
    kind    text           NOT NULL,
    details json           NOT NULL  -- not jsonb, which knows no float and no NUL
);
CREATE INDEX event_of_device ON event (hostid, at, number);
CREATE INDEX event_by_time ON event (at, number);
COMMENT ON TABLE event IS 'A dated fact.';
COMMENT ON COLUMN event.number IS 'Given by cmmd.';
COMMENT ON COLUMN event.at IS 'When it happened.';
COMMENT ON COLUMN event.hostid IS 'device.hostid; empty: of cmmd itself.';
COMMENT ON COLUMN event.kind IS 'Such as alarm_raised; docs/events.md has them all.';
COMMENT ON COLUMN event.details IS 'An object; docs/events.md says what is in it for each kind.';

CREATE TABLE command (
    number       bigint         PRIMARY KEY,
    hostid       text           NOT NULL,
    kind         text           NOT NULL,
    name         text,
    request      text           NOT NULL,
    requester    text           NOT NULL,
    door         text           NOT NULL,
    uid          text           NOT NULL,
    accepted_at  timestamptz(3) NOT NULL,
    sent_at      timestamptz(3),
    ended_at     timestamptz(3),
    outcome      text,
    reply        text,
    confirmed    boolean,
    confirmed_at timestamptz(3)
);
CREATE INDEX command_of_device ON command (hostid, accepted_at, number);
CREATE INDEX command_by_time ON command (accepted_at, number);
CREATE INDEX command_by_end ON command (ended_at, number) WHERE outcome IS NOT NULL;  -- to be forgotten
CREATE INDEX command_unfinished ON command (number) WHERE outcome IS NULL;
COMMENT ON TABLE command IS 'What somebody asked a device to do, from the moment it was accepted.';
COMMENT ON COLUMN command.number IS 'Given by cmmd.';
COMMENT ON COLUMN command.hostid IS 'device.hostid.';
COMMENT ON COLUMN command.kind IS 'modbus, port or reset.';
COMMENT ON COLUMN command.name IS 'Of a command of its profile; NULL: frames as they were given, a port, a reset.';
COMMENT ON COLUMN command.request IS 'Modbus frames in hex with CRC, joined by ";"; or port and baud; or empty.';
COMMENT ON COLUMN command.requester IS 'Who asked, as the door says it.';
COMMENT ON COLUMN command.door IS 'Which way it came: amp or http.';
COMMENT ON COLUMN command.uid IS 'Six decimal digits that the device''s answer bears.';
COMMENT ON COLUMN command.accepted_at IS 'When it was accepted.';
COMMENT ON COLUMN command.sent_at IS 'NULL: it never left, or that is not known.';
COMMENT ON COLUMN command.ended_at IS 'When it was answered, or its outcome was settled otherwise; NULL: it has not ended.';
COMMENT ON COLUMN command.outcome IS 'done, refused, timeout, lost or not sent; NULL: it has not ended. After timeout and lost nobody knows whether it was done.';
COMMENT ON COLUMN command.reply IS 'What the device answered.';
COMMENT ON COLUMN command.confirmed IS 'Whether later uploads showed it; NULL: not settled, or its profile cannot tell.';
COMMENT ON COLUMN command.confirmed_at IS 'When they did, or did not in time.';

CREATE VIEW latest AS
    SELECT device.hostid, device.hostname, device.moduletype, newest.at, newest.reason, newest.inputs, newest.profile,
        newest.points, newest.image, newest.undecided
    FROM device CROSS JOIN LATERAL (
        SELECT * FROM reading WHERE reading.hostid = device.hostid ORDER BY reading.at DESC, reading.number DESC LIMIT 1
    ) AS newest;
COMMENT ON VIEW latest IS 'The newest reading of each device that has one.';
COMMENT ON COLUMN latest.hostid IS 'device.hostid.';
COMMENT ON COLUMN latest.hostname IS 'device.hostname.';
COMMENT ON COLUMN latest.moduletype IS 'device.moduletype.';
COMMENT ON COLUMN latest.at IS 'When that upload came.';
COMMENT ON COLUMN latest.reason IS 'As reading.reason.';
COMMENT ON COLUMN latest.inputs IS 'As reading.inputs.';
COMMENT ON COLUMN latest.profile IS 'profile.number.';
COMMENT ON COLUMN latest.points IS 'As reading.points; point(latest, name) picks one.';
COMMENT ON COLUMN latest.image IS 'As reading.image.';
COMMENT ON COLUMN latest.undecided IS 'As reading.undecided.';

CREATE VIEW reading_point AS
    SELECT reading.at, reading.hostid, device.hostname, point.name AS point, reading.points[point.place + 1] AS value,
        point.unit, point.title, point.decimals
    FROM reading JOIN point ON point.profile = reading.profile LEFT JOIN device ON device.hostid = reading.hostid
    WHERE reading.points[point.place + 1] IS NOT NULL;
COMMENT ON VIEW reading_point IS 'The points of readings, a row each; points without a value have none. Ask for a time, and for a hostid or hostname.';
COMMENT ON COLUMN reading_point.at IS 'reading.at.';
COMMENT ON COLUMN reading_point.hostid IS 'device.hostid.';
COMMENT ON COLUMN reading_point.hostname IS 'device.hostname; NULL: there is no such device any more.';
COMMENT ON COLUMN reading_point.point IS 'Its name, such as generator_frequency.';
COMMENT ON COLUMN reading_point.value IS 'In unit.';
COMMENT ON COLUMN reading_point.unit IS 'Such as Hz; empty: none.';
COMMENT ON COLUMN reading_point.title IS 'For people.';
COMMENT ON COLUMN reading_point.decimals IS 'How many of the value count.';

CREATE FUNCTION point(reading, text) RETURNS real LANGUAGE sql STABLE PARALLEL SAFE AS
    $$SELECT $1.points[place + 1] FROM point WHERE profile = $1.profile AND name = $2 ORDER BY place LIMIT 1$$;
COMMENT ON FUNCTION point(reading, text) IS 'The value of a point in a reading, by its name; NULL: it has none.';

CREATE FUNCTION point(latest, text) RETURNS real LANGUAGE sql STABLE PARALLEL SAFE AS
    $$SELECT $1.points[place + 1] FROM point WHERE profile = $1.profile AND name = $2 ORDER BY place LIMIT 1$$;
COMMENT ON FUNCTION point(latest, text) IS 'The value of a point in the newest reading of a device, by its name; NULL: it has none.';
