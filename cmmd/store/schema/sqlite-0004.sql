-- This store, and who may hold rows for it that it does not have yet.
CREATE TABLE store (
    identity TEXT NOT NULL,                           -- random, given once
    writer   TEXT NOT NULL                            -- identity of the spool that last belonged to it; empty: none
);

INSERT INTO store (identity, writer) VALUES (lower(hex(randomblob(16))), '');
