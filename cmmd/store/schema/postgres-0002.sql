-- Who may command a device now: its latest password login, the maintenance lock, and what was said of its inputs.
ALTER TABLE device ADD COLUMN last_login_address text;
ALTER TABLE device ADD COLUMN lock_reason text;
ALTER TABLE device ADD COLUMN locked_by text;
ALTER TABLE device ADD COLUMN locked_at timestamptz(3);
ALTER TABLE device ADD COLUMN input_reports text NOT NULL DEFAULT '';
COMMENT ON COLUMN device.last_login_address IS 'Host of its latest password login; NULL: not known.';
COMMENT ON COLUMN device.lock_reason IS 'Why it is locked for maintenance; NULL: it is not locked.';
COMMENT ON COLUMN device.locked_by IS 'Who locked it; NULL: it is not locked.';
COMMENT ON COLUMN device.locked_at IS 'When it was locked; NULL: it is not locked.';
COMMENT ON COLUMN device.input_reports IS 'What was last said of its own four inputs: an object by input with active, said_at (ms), address and session_at (ms); empty: nothing.';

ALTER TABLE command ADD COLUMN overridden text;
ALTER TABLE command ADD COLUMN address text;
COMMENT ON COLUMN command.overridden IS 'Code of the refusal that an administrator overrode for this command; NULL: none.';
COMMENT ON COLUMN command.address IS 'Host of the session that it was sent to; NULL: it was not sent.';
