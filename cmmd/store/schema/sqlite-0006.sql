-- How each device is to be read: what its uploads have shown, and what its owner says.
ALTER TABLE device ADD COLUMN evidence TEXT NOT NULL DEFAULT '';       -- JSON: how each hypothesis was decided
ALTER TABLE device ADD COLUMN read_as TEXT;                            -- owner's: byte_order=big, scale=tenths
ALTER TABLE device ADD COLUMN oldest_undecided_at INTEGER;             -- time of the oldest reading kept undecided

ALTER TABLE last_upload ADD COLUMN counters BLOB NOT NULL DEFAULT x''; -- its counters as they were last believed
