-- DTLS sessions of devices that sleep. A row is all that is left of its session: it is taken out before the session goes
-- on, and keys and sequence numbers in it are sealed.
CREATE TABLE session (
    tenant             TEXT    NOT NULL,
    session            BLOB    NOT NULL,
    identity           TEXT    NOT NULL,
    address            TEXT    NOT NULL,
    established_at     INTEGER NOT NULL,
    slept_at           INTEGER NOT NULL,
    expires_at         INTEGER NOT NULL,
    state_sealed       BLOB    NOT NULL,
    registration       BLOB,
    PRIMARY KEY (tenant, session)
) STRICT, WITHOUT ROWID;

CREATE INDEX session_of_identity ON session (tenant, identity, slept_at);
CREATE INDEX session_by_sleep ON session (tenant, slept_at, session);
CREATE INDEX session_by_end ON session (tenant, expires_at);
