-- Who may say when an upload was, and which readings are dated so: of these there is one for each time, however often it comes.
ALTER TABLE device ADD COLUMN history boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN device.history IS 'Owner''s: whether it may say when an upload was (itime).';

ALTER TABLE reading ADD COLUMN source text NOT NULL DEFAULT '';
COMMENT ON COLUMN reading.source IS 'By which right the device said itself when it was, and from where, such as setting 192.0.2.7; empty: at is when it came.';
CREATE UNIQUE INDEX reading_dated ON reading (hostid, at, (octet_length(image) > 1)) WHERE source <> '';
