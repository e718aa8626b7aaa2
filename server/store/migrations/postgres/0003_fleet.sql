-- Devices in bulk, devices that are given up, releases that are recalled, a ledger that is cut. A released migration is
-- never edited.

-- When the device was decommissioned: its keys are gone, its name stays taken. `credential` is the number of its DTLS
-- credential; `next_sealed` is the one after it, which waits for its first use.
ALTER TABLE device ADD COLUMN retired_at BIGINT;
ALTER TABLE device ADD COLUMN credential BIGINT NOT NULL DEFAULT 1;
ALTER TABLE device ADD COLUMN next_sealed BYTEA;

-- When the release was recalled, and why: nobody gets it any more.
ALTER TABLE release ADD COLUMN recalled_at BIGINT;
ALTER TABLE release ADD COLUMN recalled_why TEXT;

-- What operators call groups of devices.
CREATE TABLE device_tag (
    tenant             TEXT COLLATE "C" NOT NULL,
    endpoint           TEXT COLLATE "C" NOT NULL,
    tag                TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, endpoint, tag),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
);
CREATE INDEX device_by_tag ON device_tag (tenant, tag, endpoint);

-- The image that each component of a device runs, by its latest confirmed report or what it told when it registered.
CREATE TABLE running (
    tenant             TEXT COLLATE "C" NOT NULL,
    endpoint           TEXT COLLATE "C" NOT NULL,
    component          BIGINT  NOT NULL,
    digest             BYTEA   NOT NULL CHECK (length(digest) = 32),
    since              BIGINT  NOT NULL,
    PRIMARY KEY (tenant, endpoint, component),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
);
CREATE INDEX running_by_digest ON running (tenant, digest, endpoint);

-- Lists of devices that are being enrolled at once. `content` names the list: the same import is never two lists.
CREATE TABLE import (
    tenant             TEXT COLLATE "C" NOT NULL,
    id                 TEXT COLLATE "C" NOT NULL,
    content            BYTEA   NOT NULL CHECK (length(content) = 32),
    begun_at           BIGINT  NOT NULL,
    committed_at       BIGINT,
    lines              BIGINT  NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- Devices of an import that is not committed: nobody's yet. Keys are made when a row comes, since that takes long.
CREATE TABLE import_row (
    tenant             TEXT COLLATE "C" NOT NULL,
    import             TEXT COLLATE "C" NOT NULL,
    line               BIGINT  NOT NULL,
    endpoint           TEXT COLLATE "C" NOT NULL,
    vendor             TEXT    NOT NULL,
    class              TEXT    NOT NULL,
    security           TEXT    NOT NULL CHECK (security IN ('psk', 'none')),
    dtls_sealed        BYTEA,
    gateway            TEXT COLLATE "C",
    link_sealed        BYTEA,
    chain_length       BIGINT  NOT NULL,
    seed_sealed        BYTEA   NOT NULL,
    links_sealed       BYTEA   NOT NULL,
    tags               TEXT    NOT NULL,
    PRIMARY KEY (tenant, import, line),
    FOREIGN KEY (tenant, import) REFERENCES import (tenant, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX import_row_by_endpoint ON import_row (tenant, import, endpoint);

-- Unit files that were not received yet; a row goes once its receipt is there.
CREATE TABLE unit_due (
    tenant             TEXT COLLATE "C" NOT NULL,
    import             TEXT COLLATE "C" NOT NULL,
    line               BIGINT  NOT NULL,
    endpoint           TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, import, line),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
);
CREATE INDEX unit_due_by_endpoint ON unit_due (tenant, endpoint);

-- From which event on the ledger is whole: those before it were cut away, but for what is still needed.
CREATE TABLE ledger_cut (
    tenant             TEXT COLLATE "C" NOT NULL,
    kept_from          BIGINT  NOT NULL,
    cut_at             BIGINT  NOT NULL,
    PRIMARY KEY (tenant)
);
