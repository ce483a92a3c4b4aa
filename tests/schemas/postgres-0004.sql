SET check_function_bodies = false;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE TABLE public.device (
    number bigint NOT NULL,
    hostid text NOT NULL,
    hostname text NOT NULL,
    password_hash text,
    moduletype text NOT NULL,
    module_port bigint,
    module_baud bigint,
    longitude text,
    latitude text,
    altitude text,
    gpsen bigint,
    wgs84_longitude double precision,
    wgs84_latitude double precision,
    para_command text NOT NULL,
    byte_order text,
    history_interval double precision,
    data_mode bigint,
    online_rate bigint,
    offline_rate bigint,
    set_port bigint,
    set_baud bigint,
    profile text,
    enabled boolean NOT NULL,
    registered_at timestamp(3) with time zone NOT NULL,
    last_login_at timestamp(3) with time zone,
    last_login_address text,
    lock_reason text,
    locked_by text,
    locked_at timestamp(3) with time zone,
    input_reports text DEFAULT ''::text NOT NULL,
    evidence text DEFAULT ''::text NOT NULL,
    read_as text,
    oldest_undecided_at timestamp(3) with time zone,
    history boolean DEFAULT false NOT NULL
)
WITH (fillfactor='80');
COMMENT ON TABLE public.device IS 'A CMM module that has registered or was enrolled. Texts and numbers are as it sent them at its last login; NULL: never said.';
COMMENT ON COLUMN public.device.number IS 'Registration number, from 1, never reused.';
COMMENT ON COLUMN public.device.hostid IS 'The module''s own id; all other tables name devices by it.';
COMMENT ON COLUMN public.device.hostname IS 'Its name, as its owner set it in the module.';
COMMENT ON COLUMN public.device.password_hash IS 'scrypt; NULL until the first login.';
COMMENT ON COLUMN public.device.moduletype IS 'Controller model, as the device says it.';
COMMENT ON COLUMN public.device.module_port IS 'Port to the controller: 0 off, 1 LINK, 2 RS485, 3 RS232, 4 USB.';
COMMENT ON COLUMN public.device.module_baud IS 'Its speed: 0 9600, 1 19200, 2 115200 bit/s.';
COMMENT ON COLUMN public.device.longitude IS 'As the device says it; gpsen tells in which system.';
COMMENT ON COLUMN public.device.latitude IS 'As the device says it; gpsen tells in which system.';
COMMENT ON COLUMN public.device.altitude IS 'As the device says it.';
COMMENT ON COLUMN public.device.gpsen IS 'System of its coordinates: 0 BD-09, 1 WGS-84.';
COMMENT ON COLUMN public.device.wgs84_longitude IS 'Degrees for any map; NULL: not known.';
COMMENT ON COLUMN public.device.wgs84_latitude IS 'Degrees for any map; NULL: not known.';
COMMENT ON COLUMN public.device.para_command IS 'The polling plan it was given at its last login: Modbus requests in hex, joined by ";".';
COMMENT ON COLUMN public.device.byte_order IS 'Of registers in its change uploads: little or big; NULL: not decided, or its profile says it.';
COMMENT ON COLUMN public.device.history_interval IS 'Owner''s: a reading is kept every so many seconds; NULL: as the configuration says.';
COMMENT ON COLUMN public.device.data_mode IS 'Owner''s: 0 it uploads changes only, 1 everything; NULL: as the configuration says.';
COMMENT ON COLUMN public.device.online_rate IS 'Owner''s: milliseconds between uploads while somebody watches; NULL: as the configuration says.';
COMMENT ON COLUMN public.device.offline_rate IS 'Owner''s: milliseconds between uploads else; NULL: as the configuration says.';
COMMENT ON COLUMN public.device.set_port IS 'Owner''s: the port to set, codes as in module_port; NULL: as the device says.';
COMMENT ON COLUMN public.device.set_baud IS 'Owner''s: the speed to set, codes as in module_baud; NULL: as the device says.';
COMMENT ON COLUMN public.device.profile IS 'Owner''s: name of its controller profile; NULL: by moduletype.';
COMMENT ON COLUMN public.device.enabled IS 'Whether it may log in.';
COMMENT ON COLUMN public.device.registered_at IS 'First login or enrolment.';
COMMENT ON COLUMN public.device.last_login_at IS 'NULL: none yet.';
COMMENT ON COLUMN public.device.last_login_address IS 'Host of its latest password login; NULL: not known.';
COMMENT ON COLUMN public.device.lock_reason IS 'Why it is locked for maintenance; NULL: it is not locked.';
COMMENT ON COLUMN public.device.locked_by IS 'Who locked it; NULL: it is not locked.';
COMMENT ON COLUMN public.device.locked_at IS 'When it was locked; NULL: it is not locked.';
COMMENT ON COLUMN public.device.input_reports IS 'What was last said of its own four inputs: an object by input with active, said_at (ms), address and session_at (ms); empty: nothing.';
COMMENT ON COLUMN public.device.evidence IS 'How each hypothesis about it was decided: an object by hypothesis of choice (empty: open again), upload, time (ms), what decided it, how often it was re-opened; empty: none was.';
COMMENT ON COLUMN public.device.read_as IS 'Owner''s: how it is to be read, such as byte_order=big, scale=tenths; NULL: as its uploads show.';
COMMENT ON COLUMN public.device.oldest_undecided_at IS 'Time of the oldest reading with values that were kept undecided; NULL: there is none.';
COMMENT ON COLUMN public.device.history IS 'Owner''s: whether it may say when an upload was (itime).';
CREATE TABLE public.reading (
    number bigint NOT NULL,
    at timestamp(3) with time zone NOT NULL,
    profile integer NOT NULL,
    suppressed integer NOT NULL,
    inputs smallint NOT NULL,
    hostid text NOT NULL,
    reason text NOT NULL,
    image bytea NOT NULL,
    undecided bytea NOT NULL,
    points real[] NOT NULL,
    source text DEFAULT ''::text NOT NULL
)
PARTITION BY RANGE (at);
COMMENT ON TABLE public.reading IS 'An upload that was kept; a partition a month (UTC), reading_YYYYMM.';
COMMENT ON COLUMN public.reading.number IS 'Given by cmmd; together with at the same one for the same upload.';
COMMENT ON COLUMN public.reading.at IS 'When the upload came.';
COMMENT ON COLUMN public.reading.profile IS 'profile.number: what the places of points mean.';
COMMENT ON COLUMN public.reading.suppressed IS 'Uploads with changes since the last kept one that were left out because there were too many.';
COMMENT ON COLUMN public.reading.inputs IS 'The device''s own inputs: bits 0 to 3 door, fire, alarm, remote control inhibited; bits 4 to 7: which of them are known.';
COMMENT ON COLUMN public.reading.hostid IS 'device.hostid.';
COMMENT ON COLUMN public.reading.reason IS 'Why it was kept: first, change, interval, historic.';
COMMENT ON COLUMN public.reading.image IS 'All registers and coils known then: byte 01, then for each run of addresses function (1 byte: 1 coils, 2 discrete inputs, 3 holding, 4 input registers), first address, count less 1 (2 bytes each, big-endian), the values as Modbus has them.';
COMMENT ON COLUMN public.reading.undecided IS 'Registers whose byte order was uncertain, read little-endian, in the same form; newer than those of image. Empty: none.';
COMMENT ON COLUMN public.reading.points IS 'Engineering values in the order of point.place, in single precision; NULL: no data, not known or not certain.';
COMMENT ON COLUMN public.reading.source IS 'By which right the device said itself when it was, and from where, such as setting 192.0.2.7; empty: at is when it came.';
CREATE VIEW public.latest AS
 SELECT device.hostid,
    device.hostname,
    device.moduletype,
    newest.at,
    newest.reason,
    newest.inputs,
    newest.profile,
    newest.points,
    newest.image,
    newest.undecided
   FROM (public.device
     CROSS JOIN LATERAL ( SELECT reading.number,
            reading.at,
            reading.profile,
            reading.suppressed,
            reading.inputs,
            reading.hostid,
            reading.reason,
            reading.image,
            reading.undecided,
            reading.points
           FROM public.reading
          WHERE (reading.hostid = device.hostid)
          ORDER BY reading.at DESC, reading.number DESC
         LIMIT 1) newest);
COMMENT ON VIEW public.latest IS 'The newest reading of each device that has one.';
COMMENT ON COLUMN public.latest.hostid IS 'device.hostid.';
COMMENT ON COLUMN public.latest.hostname IS 'device.hostname.';
COMMENT ON COLUMN public.latest.moduletype IS 'device.moduletype.';
COMMENT ON COLUMN public.latest.at IS 'When that upload came.';
COMMENT ON COLUMN public.latest.reason IS 'As reading.reason.';
COMMENT ON COLUMN public.latest.inputs IS 'As reading.inputs.';
COMMENT ON COLUMN public.latest.profile IS 'profile.number.';
COMMENT ON COLUMN public.latest.points IS 'As reading.points; point(latest, name) picks one.';
COMMENT ON COLUMN public.latest.image IS 'As reading.image.';
COMMENT ON COLUMN public.latest.undecided IS 'As reading.undecided.';
CREATE FUNCTION public.point(public.latest, text) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $_$SELECT $1.points[place + 1] FROM point WHERE profile = $1.profile AND name = $2 ORDER BY place LIMIT 1$_$;
COMMENT ON FUNCTION public.point(public.latest, text) IS 'The value of a point in the newest reading of a device, by its name; NULL: it has none.';
CREATE FUNCTION public.point(public.reading, text) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $_$SELECT $1.points[place + 1] FROM point WHERE profile = $1.profile AND name = $2 ORDER BY place LIMIT 1$_$;
COMMENT ON FUNCTION public.point(public.reading, text) IS 'The value of a point in a reading, by its name; NULL: it has none.';
CREATE TABLE public.alarm (
    number bigint NOT NULL,
    hostid text NOT NULL,
    signal text NOT NULL,
    title text NOT NULL,
    severity text NOT NULL,
    raised_at timestamp(3) with time zone NOT NULL,
    acknowledged_at timestamp(3) with time zone,
    acknowledged_by text,
    cleared_at timestamp(3) with time zone
);
COMMENT ON TABLE public.alarm IS 'A signal with a severity that is or was active.';
COMMENT ON COLUMN public.alarm.number IS 'Given by cmmd.';
COMMENT ON COLUMN public.alarm.hostid IS 'device.hostid.';
COMMENT ON COLUMN public.alarm.signal IS 'Name of the signal in its profile, or one that cmmd raises itself.';
COMMENT ON COLUMN public.alarm.title IS 'The signal''s, for people.';
COMMENT ON COLUMN public.alarm.severity IS 'warning, shutdown or alarm.';
COMMENT ON COLUMN public.alarm.raised_at IS 'When it was first seen active.';
COMMENT ON COLUMN public.alarm.acknowledged_at IS 'When somebody took note of it; NULL: nobody has.';
COMMENT ON COLUMN public.alarm.acknowledged_by IS 'Who did.';
COMMENT ON COLUMN public.alarm.cleared_at IS 'NULL: open.';
CREATE TABLE public.command (
    number bigint NOT NULL,
    hostid text NOT NULL,
    kind text NOT NULL,
    name text,
    request text NOT NULL,
    requester text NOT NULL,
    door text NOT NULL,
    uid text NOT NULL,
    accepted_at timestamp(3) with time zone NOT NULL,
    sent_at timestamp(3) with time zone,
    ended_at timestamp(3) with time zone,
    outcome text,
    reply text,
    confirmed boolean,
    confirmed_at timestamp(3) with time zone,
    overridden text,
    address text
);
COMMENT ON TABLE public.command IS 'What somebody asked a device to do, from the moment it was accepted.';
COMMENT ON COLUMN public.command.number IS 'Given by cmmd.';
COMMENT ON COLUMN public.command.hostid IS 'device.hostid.';
COMMENT ON COLUMN public.command.kind IS 'modbus, port or reset.';
COMMENT ON COLUMN public.command.name IS 'Of a command of its profile; NULL: frames as they were given, a port, a reset.';
COMMENT ON COLUMN public.command.request IS 'Modbus frames in hex with CRC, joined by ";"; or port and baud; or empty.';
COMMENT ON COLUMN public.command.requester IS 'Who asked, as the door says it.';
COMMENT ON COLUMN public.command.door IS 'Which way it came: amp or http.';
COMMENT ON COLUMN public.command.uid IS 'Six decimal digits that the device''s answer bears.';
COMMENT ON COLUMN public.command.accepted_at IS 'When it was accepted.';
COMMENT ON COLUMN public.command.sent_at IS 'NULL: it never left, or that is not known.';
COMMENT ON COLUMN public.command.ended_at IS 'When it was answered, or its outcome was settled otherwise; NULL: it has not ended.';
COMMENT ON COLUMN public.command.outcome IS 'done, refused, timeout, lost or not sent; NULL: it has not ended. After timeout and lost nobody knows whether it was done.';
COMMENT ON COLUMN public.command.reply IS 'What the device answered.';
COMMENT ON COLUMN public.command.confirmed IS 'Whether later uploads showed it; NULL: not settled, or its profile cannot tell.';
COMMENT ON COLUMN public.command.confirmed_at IS 'When they did, or did not in time.';
COMMENT ON COLUMN public.command.overridden IS 'Code of the refusal that an administrator overrode for this command; NULL: none.';
COMMENT ON COLUMN public.command.address IS 'Host of the session that it was sent to; NULL: it was not sent.';
CREATE TABLE public.counter (
    kind text NOT NULL,
    highest bigint NOT NULL
)
WITH (fillfactor='50');
COMMENT ON TABLE public.counter IS 'The highest number that has been given in a table, also where its row is deleted by now: none comes again.';
COMMENT ON COLUMN public.counter.kind IS 'Which table.';
COMMENT ON COLUMN public.counter.highest IS 'The highest number given, or reserved; 0: none.';
CREATE TABLE public.event (
    number bigint NOT NULL,
    at timestamp(3) with time zone NOT NULL,
    hostid text NOT NULL,
    kind text NOT NULL,
    details json NOT NULL
);
COMMENT ON TABLE public.event IS 'A dated fact.';
COMMENT ON COLUMN public.event.number IS 'Given by cmmd.';
COMMENT ON COLUMN public.event.at IS 'When it happened.';
COMMENT ON COLUMN public.event.hostid IS 'device.hostid; empty: of cmmd itself.';
COMMENT ON COLUMN public.event.kind IS 'Such as alarm_raised; docs/events.md has them all.';
COMMENT ON COLUMN public.event.details IS 'An object; docs/events.md says what is in it for each kind.';
CREATE TABLE public.last_upload (
    hostid text NOT NULL,
    upload bigint NOT NULL,
    at timestamp(3) with time zone NOT NULL,
    unit bigint,
    kept_at timestamp(3) with time zone,
    inputs bigint NOT NULL,
    image bytea NOT NULL,
    undecided bytea NOT NULL,
    counters bytea DEFAULT '\x'::bytea NOT NULL
)
WITH (fillfactor='70');
COMMENT ON TABLE public.last_upload IS 'What was known of a device when cmmd ended, or with its last reading, so that a restart forgets nothing.';
COMMENT ON COLUMN public.last_upload.hostid IS 'device.hostid.';
COMMENT ON COLUMN public.last_upload.upload IS 'Running number of its newest upload.';
COMMENT ON COLUMN public.last_upload.at IS 'When that came.';
COMMENT ON COLUMN public.last_upload.unit IS 'The Modbus unit that answered last.';
COMMENT ON COLUMN public.last_upload.kept_at IS 'When an upload of it last became a reading; NULL: never.';
COMMENT ON COLUMN public.last_upload.inputs IS 'As reading.inputs.';
COMMENT ON COLUMN public.last_upload.image IS 'As reading.image.';
COMMENT ON COLUMN public.last_upload.undecided IS 'As reading.undecided.';
COMMENT ON COLUMN public.last_upload.counters IS 'Its counters as they were last believed: time (ms, 8 bytes), then the two registers of each counter and the registers of identity, 4 bytes each, big-endian; empty: they never were.';
CREATE TABLE public.point (
    profile bigint NOT NULL,
    place integer NOT NULL,
    name text NOT NULL,
    title text NOT NULL,
    unit text NOT NULL,
    decimals bigint NOT NULL
);
COMMENT ON TABLE public.point IS 'What one place of reading.points means in one profile version.';
COMMENT ON COLUMN public.point.profile IS 'profile.number.';
COMMENT ON COLUMN public.point.place IS 'From 0: the value is reading.points[place + 1].';
COMMENT ON COLUMN public.point.name IS 'Such as generator_frequency.';
COMMENT ON COLUMN public.point.title IS 'For people.';
COMMENT ON COLUMN public.point.unit IS 'Such as Hz; empty: none.';
COMMENT ON COLUMN public.point.decimals IS 'How many of a value count.';
CREATE TABLE public.profile (
    number bigint NOT NULL,
    name text NOT NULL,
    fingerprint text NOT NULL
);
COMMENT ON TABLE public.profile IS 'The points of a controller profile as they once were. Never changed, never deleted: one whose points change gets a new number.';
COMMENT ON COLUMN public.profile.number IS 'Readings bear it.';
COMMENT ON COLUMN public.profile.name IS 'Name of the controller profile.';
COMMENT ON COLUMN public.profile.fingerprint IS 'Tells two versions of one profile apart.';
CREATE TABLE public.reading_197001 (
    number bigint CONSTRAINT reading_number_not_null NOT NULL,
    at timestamp(3) with time zone CONSTRAINT reading_at_not_null NOT NULL,
    profile integer CONSTRAINT reading_profile_not_null NOT NULL,
    suppressed integer CONSTRAINT reading_suppressed_not_null NOT NULL,
    inputs smallint CONSTRAINT reading_inputs_not_null NOT NULL,
    hostid text CONSTRAINT reading_hostid_not_null NOT NULL,
    reason text CONSTRAINT reading_reason_not_null NOT NULL,
    image bytea CONSTRAINT reading_image_not_null NOT NULL,
    undecided bytea CONSTRAINT reading_undecided_not_null NOT NULL,
    points real[] CONSTRAINT reading_points_not_null NOT NULL,
    source text DEFAULT ''::text CONSTRAINT reading_source_not_null NOT NULL
);
COMMENT ON COLUMN public.reading_197001.number IS 'Given by cmmd; together with at the same one for the same upload.';
COMMENT ON COLUMN public.reading_197001.at IS 'When the upload came.';
COMMENT ON COLUMN public.reading_197001.profile IS 'profile.number: what the places of points mean.';
COMMENT ON COLUMN public.reading_197001.suppressed IS 'Uploads with changes since the last kept one that were left out because there were too many.';
COMMENT ON COLUMN public.reading_197001.inputs IS 'The device''s own inputs: bits 0 to 3 door, fire, alarm, remote control inhibited; bits 4 to 7: which of them are known.';
COMMENT ON COLUMN public.reading_197001.hostid IS 'device.hostid.';
COMMENT ON COLUMN public.reading_197001.reason IS 'Why it was kept: first, change, interval, historic.';
COMMENT ON COLUMN public.reading_197001.image IS 'All registers and coils known then: byte 01, then for each run of addresses function (1 byte: 1 coils, 2 discrete inputs, 3 holding, 4 input registers), first address, count less 1 (2 bytes each, big-endian), the values as Modbus has them.';
COMMENT ON COLUMN public.reading_197001.undecided IS 'Registers whose byte order was uncertain, read little-endian, in the same form; newer than those of image. Empty: none.';
COMMENT ON COLUMN public.reading_197001.points IS 'Engineering values in the order of point.place, in single precision; NULL: no data, not known or not certain.';
COMMENT ON COLUMN public.reading_197001.source IS 'By which right the device said itself when it was, and from where, such as setting 192.0.2.7; empty: at is when it came.';
CREATE TABLE public.reading_202311 (
    number bigint CONSTRAINT reading_number_not_null NOT NULL,
    at timestamp(3) with time zone CONSTRAINT reading_at_not_null NOT NULL,
    profile integer CONSTRAINT reading_profile_not_null NOT NULL,
    suppressed integer CONSTRAINT reading_suppressed_not_null NOT NULL,
    inputs smallint CONSTRAINT reading_inputs_not_null NOT NULL,
    hostid text CONSTRAINT reading_hostid_not_null NOT NULL,
    reason text CONSTRAINT reading_reason_not_null NOT NULL,
    image bytea CONSTRAINT reading_image_not_null NOT NULL,
    undecided bytea CONSTRAINT reading_undecided_not_null NOT NULL,
    points real[] CONSTRAINT reading_points_not_null NOT NULL,
    source text DEFAULT ''::text CONSTRAINT reading_source_not_null NOT NULL
);
COMMENT ON COLUMN public.reading_202311.number IS 'Given by cmmd; together with at the same one for the same upload.';
COMMENT ON COLUMN public.reading_202311.at IS 'When the upload came.';
COMMENT ON COLUMN public.reading_202311.profile IS 'profile.number: what the places of points mean.';
COMMENT ON COLUMN public.reading_202311.suppressed IS 'Uploads with changes since the last kept one that were left out because there were too many.';
COMMENT ON COLUMN public.reading_202311.inputs IS 'The device''s own inputs: bits 0 to 3 door, fire, alarm, remote control inhibited; bits 4 to 7: which of them are known.';
COMMENT ON COLUMN public.reading_202311.hostid IS 'device.hostid.';
COMMENT ON COLUMN public.reading_202311.reason IS 'Why it was kept: first, change, interval, historic.';
COMMENT ON COLUMN public.reading_202311.image IS 'All registers and coils known then: byte 01, then for each run of addresses function (1 byte: 1 coils, 2 discrete inputs, 3 holding, 4 input registers), first address, count less 1 (2 bytes each, big-endian), the values as Modbus has them.';
COMMENT ON COLUMN public.reading_202311.undecided IS 'Registers whose byte order was uncertain, read little-endian, in the same form; newer than those of image. Empty: none.';
COMMENT ON COLUMN public.reading_202311.points IS 'Engineering values in the order of point.place, in single precision; NULL: no data, not known or not certain.';
COMMENT ON COLUMN public.reading_202311.source IS 'By which right the device said itself when it was, and from where, such as setting 192.0.2.7; empty: at is when it came.';
CREATE VIEW public.reading_point AS
 SELECT reading.at,
    reading.hostid,
    device.hostname,
    point.name AS point,
    reading.points[(point.place + 1)] AS value,
    point.unit,
    point.title,
    point.decimals
   FROM ((public.reading
     JOIN public.point ON ((point.profile = reading.profile)))
     LEFT JOIN public.device ON ((device.hostid = reading.hostid)))
  WHERE (reading.points[(point.place + 1)] IS NOT NULL);
COMMENT ON VIEW public.reading_point IS 'The points of readings, a row each; points without a value have none. Ask for a time, and for a hostid or hostname.';
COMMENT ON COLUMN public.reading_point.at IS 'reading.at.';
COMMENT ON COLUMN public.reading_point.hostid IS 'device.hostid.';
COMMENT ON COLUMN public.reading_point.hostname IS 'device.hostname; NULL: there is no such device any more.';
COMMENT ON COLUMN public.reading_point.point IS 'Its name, such as generator_frequency.';
COMMENT ON COLUMN public.reading_point.value IS 'In unit.';
COMMENT ON COLUMN public.reading_point.unit IS 'Such as Hz; empty: none.';
COMMENT ON COLUMN public.reading_point.title IS 'For people.';
COMMENT ON COLUMN public.reading_point.decimals IS 'How many of the value count.';
CREATE TABLE public.schema_version (
    number integer NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);
COMMENT ON TABLE public.schema_version IS 'The numbered SQL files of cmmd that this database has seen.';
COMMENT ON COLUMN public.schema_version.number IS 'Number of the file; the highest one is the version of the schema.';
COMMENT ON COLUMN public.schema_version.applied_at IS 'When it was applied.';
CREATE TABLE public.store (
    identity text NOT NULL,
    writer text NOT NULL,
    openings bigint NOT NULL
);
COMMENT ON TABLE public.store IS 'This store, and who writes to it: one row.';
COMMENT ON COLUMN public.store.identity IS 'Random, given once.';
COMMENT ON COLUMN public.store.writer IS 'Identity of the spool that last belonged to this store; empty: none.';
COMMENT ON COLUMN public.store.openings IS 'How often a cmmd has opened it: tells one that was cut off whether another has been here since.';
ALTER TABLE ONLY public.reading ATTACH PARTITION public.reading_197001 FOR VALUES FROM ('1970-01-01 05:30:00+05:30') TO ('1970-02-01 05:30:00+05:30');
ALTER TABLE ONLY public.reading ATTACH PARTITION public.reading_202311 FOR VALUES FROM ('2023-11-01 05:45:00+05:45') TO ('2023-12-01 05:45:00+05:45');
INSERT INTO public.alarm VALUES (1, 'A', 'low_oil', 'Low oil', 'warning', '1970-01-01 05:30:01+05:30', NULL, NULL, NULL);
INSERT INTO public.command VALUES (1, 'A', 'reset', NULL, '', '', 'amp', '100000', '1970-01-01 05:30:01+05:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.command VALUES (2, '3439333633355115004B003D', 'modbus', 'auto', '01050003FF007C3A;0105000300003DCA', 'Zoë "the boss" ''; --', 'http', '000042', '1970-01-01 05:30:02+05:30', '1970-01-01 05:30:02.001+05:30', '287396-10-12 14:44:00.992+05:45', 'done', '1;1', true, '1970-01-01 05:30:02.003+05:30', 'remote_inhibited', '192.0.2.7');
INSERT INTO public.counter VALUES ('device', 2);
INSERT INTO public.counter VALUES ('reading', 9007199254740992);
INSERT INTO public.counter VALUES ('alarm', 1);
INSERT INTO public.counter VALUES ('event', 2);
INSERT INTO public.counter VALUES ('command', 2);
INSERT INTO public.device VALUES (1, '3439333633355115004B003D', '柴油机 № 1 ''quoted'' "twice"; --', 'scrypt$11$8$1$c2FsdA==$aGFzaA==', 'HGM6120N-4G', 2, 9999999, '116.404', '-39.915', '8848.86', 0, 116.3914, -39.9136, '01010000005ABC31;01030000002D85D7', 'big', 7.5, 1, 3000, 9007199254740992, 2, 1, 'hgm6120n, ''mine''', false, '287396-10-12 14:44:00.992+05:45', '2023-11-25 06:24:06.5+05:45', '2001:db8::7', 'Zoë''s "belt"; --', 'token bob', '287396-10-12 14:44:00.992+05:45', '{"fire_alarm":{"active":true}}', '{"scale":["tenths",3,1700872746500,"register 6 = 600",0]}', 'byte_order=big, scale=tenths', '2023-11-25 06:24:06.5+05:45', true);
INSERT INTO public.device VALUES (2, 'A', '', NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true, '1970-01-01 05:30:00+05:30', NULL, NULL, NULL, NULL, NULL, '', '', NULL, NULL, false);
INSERT INTO public.event VALUES (1, '1970-01-01 05:30:01+05:30', 'A', 'login', '{}');
INSERT INTO public.event VALUES (2, '1970-01-01 05:30:02+05:30', '3439333633355115004B003D', 'command', '{"name":"柴油机 \"1\" ''; --","count":-3,"big":9007199254740992,"seconds":0.25,"right":true,"nothing":null}');
INSERT INTO public.last_upload VALUES ('A', 1, '1970-01-01 05:30:01+05:30', NULL, NULL, 0, '\x', '\x', '\x');
INSERT INTO public.point VALUES (1, 0, 'speed', 'Speed', 'r/min', 0);
INSERT INTO public.point VALUES (1, 1, 'volts_a', 'U₁', 'V', 1);
INSERT INTO public.profile VALUES (1, 'hgm6120n', 'f1');
INSERT INTO public.reading_197001 VALUES (1, '1970-01-01 05:30:01+05:30', 1, 0, 0, 'A', 'first', '\x', '\x', '{}', '');
INSERT INTO public.reading_202311 VALUES (9007199254740992, '2023-11-25 06:24:06.5+05:45', 7, 3, 15, '3439333633355115004B003D', 'change', '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff', '{0,0.5,NULL,-273.25,65535}', 'setting 192.0.2.7');
INSERT INTO public.schema_version VALUES (1, '2026-12-01 18:49:15.688952+05:45');
INSERT INTO public.schema_version VALUES (2, '2026-12-01 18:49:15.868292+05:45');
INSERT INTO public.schema_version VALUES (3, '2026-12-01 18:49:15.891101+05:45');
INSERT INTO public.schema_version VALUES (4, '2026-12-01 18:49:15.909413+05:45');
INSERT INTO public.store VALUES ('4e950e4ca35842a0a95e405fc85371e9', 'spool', 1);
ALTER TABLE ONLY public.alarm
    ADD CONSTRAINT alarm_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.command
    ADD CONSTRAINT command_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.counter
    ADD CONSTRAINT counter_pkey PRIMARY KEY (kind);
ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_hostid_key UNIQUE (hostid);
ALTER TABLE ONLY public.device
    ADD CONSTRAINT device_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.event
    ADD CONSTRAINT event_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.last_upload
    ADD CONSTRAINT last_upload_pkey PRIMARY KEY (hostid);
ALTER TABLE ONLY public.point
    ADD CONSTRAINT point_pkey PRIMARY KEY (profile, place);
ALTER TABLE ONLY public.profile
    ADD CONSTRAINT profile_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.reading
    ADD CONSTRAINT reading_pkey PRIMARY KEY (at, number) WITH (fillfactor='100');
ALTER TABLE ONLY public.reading_197001
    ADD CONSTRAINT reading_197001_pkey PRIMARY KEY (at, number) WITH (fillfactor='100');
ALTER TABLE ONLY public.reading_202311
    ADD CONSTRAINT reading_202311_pkey PRIMARY KEY (at, number) WITH (fillfactor='100');
ALTER TABLE ONLY public.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (number);
CREATE INDEX alarm_by_end ON public.alarm USING btree (cleared_at, number) WHERE (cleared_at IS NOT NULL);
CREATE INDEX alarm_by_time ON public.alarm USING btree (raised_at, number);
CREATE INDEX alarm_of_device ON public.alarm USING btree (hostid, raised_at, number);
CREATE INDEX alarm_open ON public.alarm USING btree (number) WHERE (cleared_at IS NULL);
CREATE INDEX command_by_end ON public.command USING btree (ended_at, number) WHERE (outcome IS NOT NULL);
CREATE INDEX command_by_time ON public.command USING btree (accepted_at, number);
CREATE INDEX command_of_device ON public.command USING btree (hostid, accepted_at, number);
CREATE INDEX command_unfinished ON public.command USING btree (number) WHERE (outcome IS NULL);
CREATE INDEX event_by_time ON public.event USING btree (at, number);
CREATE INDEX event_of_device ON public.event USING btree (hostid, at, number);
CREATE INDEX point_by_name ON public.point USING btree (profile, name);
CREATE UNIQUE INDEX reading_dated ON ONLY public.reading USING btree (hostid, at, ((octet_length(image) > 1))) WHERE (source <> ''::text);
CREATE UNIQUE INDEX reading_197001_hostid_at_expr_idx ON public.reading_197001 USING btree (hostid, at, ((octet_length(image) > 1))) WHERE (source <> ''::text);
CREATE INDEX reading_of_device ON ONLY public.reading USING btree (hostid, at, number);
CREATE INDEX reading_197001_hostid_at_number_idx ON public.reading_197001 USING btree (hostid, at, number);
CREATE UNIQUE INDEX reading_202311_hostid_at_expr_idx ON public.reading_202311 USING btree (hostid, at, ((octet_length(image) > 1))) WHERE (source <> ''::text);
CREATE INDEX reading_202311_hostid_at_number_idx ON public.reading_202311 USING btree (hostid, at, number);
ALTER INDEX public.reading_dated ATTACH PARTITION public.reading_197001_hostid_at_expr_idx;
ALTER INDEX public.reading_of_device ATTACH PARTITION public.reading_197001_hostid_at_number_idx;
ALTER INDEX public.reading_pkey ATTACH PARTITION public.reading_197001_pkey;
ALTER INDEX public.reading_dated ATTACH PARTITION public.reading_202311_hostid_at_expr_idx;
ALTER INDEX public.reading_of_device ATTACH PARTITION public.reading_202311_hostid_at_number_idx;
ALTER INDEX public.reading_pkey ATTACH PARTITION public.reading_202311_pkey;
ALTER TABLE ONLY public.point
    ADD CONSTRAINT point_profile_fkey FOREIGN KEY (profile) REFERENCES public.profile(number);
