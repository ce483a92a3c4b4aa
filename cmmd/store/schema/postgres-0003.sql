-- How each device is to be read: what its uploads have shown, and what its owner says.
ALTER TABLE device ADD COLUMN evidence text NOT NULL DEFAULT '';
ALTER TABLE device ADD COLUMN read_as text;
ALTER TABLE device ADD COLUMN oldest_undecided_at timestamptz(3);
COMMENT ON COLUMN device.evidence IS 'How each hypothesis about it was decided: an object by hypothesis of choice (empty: open again), upload, time (ms), what decided it, how often it was re-opened; empty: none was.';
COMMENT ON COLUMN device.read_as IS 'Owner''s: how it is to be read, such as byte_order=big, scale=tenths; NULL: as its uploads show.';
COMMENT ON COLUMN device.oldest_undecided_at IS 'Time of the oldest reading with values that were kept undecided; NULL: there is none.';

ALTER TABLE last_upload ADD COLUMN counters bytea NOT NULL DEFAULT '';
COMMENT ON COLUMN last_upload.counters IS 'Its counters as they were last believed: time (ms, 8 bytes), then the two registers of each counter and the registers of identity, 4 bytes each, big-endian; empty: they never were.';
