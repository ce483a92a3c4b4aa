-- Who may command a device now: its latest password login, the maintenance lock, and what was said of its inputs.
ALTER TABLE device ADD COLUMN last_login_address TEXT;                 -- host of the latest password login
ALTER TABLE device ADD COLUMN lock_reason TEXT;                        -- of the maintenance lock; NULL: not locked
ALTER TABLE device ADD COLUMN locked_by TEXT;                          -- who locked it
ALTER TABLE device ADD COLUMN locked_at INTEGER;
ALTER TABLE device ADD COLUMN input_reports TEXT NOT NULL DEFAULT '';  -- JSON: state, time, address of each input

ALTER TABLE command ADD COLUMN overridden TEXT;                        -- code of the refusal an administrator overrode
ALTER TABLE command ADD COLUMN address TEXT;                           -- host of the session that it was sent to
