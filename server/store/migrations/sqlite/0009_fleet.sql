-- Devices in bulk, devices that are given up, releases that are recalled, a ledger that is cut. A released migration is
-- never edited.

-- When the device was decommissioned: its keys are gone, its name stays taken. `credential` is the number of its DTLS
-- credential; `next_sealed` is the one after it, which waits for its first use.
ALTER TABLE device ADD COLUMN retired_at INTEGER;
ALTER TABLE device ADD COLUMN credential INTEGER NOT NULL DEFAULT 1;
ALTER TABLE device ADD COLUMN next_sealed BLOB;

-- When the release was recalled, and why: nobody gets it any more.
ALTER TABLE release ADD COLUMN recalled_at INTEGER;
ALTER TABLE release ADD COLUMN recalled_why TEXT;

-- What operators call groups of devices.
CREATE TABLE device_tag (
    tenant             TEXT    NOT NULL,
    endpoint           TEXT    NOT NULL,
    tag                TEXT    NOT NULL,
    PRIMARY KEY (tenant, endpoint, tag),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_by_tag ON device_tag (tenant, tag, endpoint);

-- The image that each component of a device runs, by its latest confirmed report or what it told when it registered.
CREATE TABLE running (
    tenant             TEXT    NOT NULL,
    endpoint           TEXT    NOT NULL,
    component          INTEGER NOT NULL,
    digest             BLOB    NOT NULL CHECK (length(digest) = 32),
    since              INTEGER NOT NULL,
    PRIMARY KEY (tenant, endpoint, component),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX running_by_digest ON running (tenant, digest, endpoint);

-- Lists of devices that are being enrolled at once. `content` names the list: the same import is never two lists.
CREATE TABLE import (
    tenant             TEXT    NOT NULL,
    id                 TEXT    NOT NULL,
    content            BLOB    NOT NULL CHECK (length(content) = 32),
    begun_at           INTEGER NOT NULL,
    committed_at       INTEGER,
    lines              INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

-- Devices of an import that is not committed: nobody's yet. Keys are made when a row comes, since that takes long.
CREATE TABLE import_row (
    tenant             TEXT    NOT NULL,
    import             TEXT    NOT NULL,
    line               INTEGER NOT NULL,
    endpoint           TEXT    NOT NULL,
    vendor             TEXT    NOT NULL,
    class              TEXT    NOT NULL,
    security           TEXT    NOT NULL CHECK (security IN ('psk', 'none')),
    dtls_sealed        BLOB,
    gateway            TEXT,
    link_sealed        BLOB,
    chain_length       INTEGER NOT NULL,
    seed_sealed        BLOB    NOT NULL,
    links_sealed       BLOB    NOT NULL,
    tags               TEXT    NOT NULL,
    PRIMARY KEY (tenant, import, line),
    FOREIGN KEY (tenant, import) REFERENCES import (tenant, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX import_row_by_endpoint ON import_row (tenant, import, endpoint);

-- Unit files that were not received yet; a row goes once its receipt is there.
CREATE TABLE unit_due (
    tenant             TEXT    NOT NULL,
    import             TEXT    NOT NULL,
    line               INTEGER NOT NULL,
    endpoint           TEXT    NOT NULL,
    PRIMARY KEY (tenant, import, line),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX unit_due_by_endpoint ON unit_due (tenant, endpoint);

-- From which event on the ledger is whole: those before it were cut away, but for what is still needed.
CREATE TABLE ledger_cut (
    tenant             TEXT    NOT NULL,
    kept_from          INTEGER NOT NULL,
    cut_at             INTEGER NOT NULL,
    PRIMARY KEY (tenant)
) STRICT, WITHOUT ROWID;
