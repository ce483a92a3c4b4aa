-- Who may say when an upload was, and which readings are dated so: of these there is one for each time, however often it comes.
ALTER TABLE device ADD COLUMN history INTEGER NOT NULL DEFAULT 0;      -- owner's: whether it may date its uploads
ALTER TABLE reading ADD COLUMN source TEXT NOT NULL DEFAULT '';        -- by which right it was dated, and from where

CREATE UNIQUE INDEX reading_dated ON reading (hostid, at, (length(image) > 1)) WHERE source <> '';
