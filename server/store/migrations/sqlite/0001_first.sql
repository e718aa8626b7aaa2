-- The first schema. A released migration is never edited: the next change is the next file.
--
-- Every table has the tenant first in its primary key. Times are seconds since 1970. Digests are the 32 bytes of SHA-256.
-- A column that ends in _sealed holds what the vault has encrypted: the store cannot open it.

-- "BWST": a file that is SQLite but not ours is refused at open.
PRAGMA application_id = 0x42575354;

-- Numbers that the store gives out: campaigns, releases.
CREATE TABLE counter (
    tenant             TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    last               INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE device (
    tenant             TEXT    NOT NULL,
    endpoint           TEXT    NOT NULL,
    vendor             TEXT    NOT NULL,
    class              TEXT    NOT NULL,
    security           TEXT    NOT NULL CHECK (security IN ('psk', 'none')),
    dtls_sealed        BLOB,
    enabled            INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    added_at           INTEGER NOT NULL,
    PRIMARY KEY (tenant, endpoint),
    CHECK ((security = 'psk') = (dtls_sealed IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- A device may have several identities; each has a name of its own and one record.
-- The blobs make rows long, so this table keeps its rowid.
CREATE TABLE identity (
    tenant             TEXT    NOT NULL,
    id                 TEXT    NOT NULL,
    endpoint           TEXT    NOT NULL,
    chain_length       INTEGER NOT NULL CHECK (chain_length BETWEEN 1 AND 4096),
    seed_sealed        BLOB    NOT NULL,
    links_sealed       BLOB    NOT NULL,
    revision           INTEGER NOT NULL,
    state              BLOB    NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
) STRICT;
CREATE INDEX identity_by_endpoint ON identity (tenant, endpoint);

-- The ledger: only ever appended to. `body` carries its own version number.
CREATE TABLE event (
    tenant             TEXT    NOT NULL,
    seq                INTEGER NOT NULL,
    at                 INTEGER NOT NULL,
    campaign           INTEGER,
    endpoint           TEXT,
    body               TEXT    NOT NULL,
    PRIMARY KEY (tenant, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_by_campaign ON event (tenant, campaign, seq) WHERE campaign IS NOT NULL;
CREATE INDEX event_by_endpoint ON event (tenant, endpoint, seq) WHERE endpoint IS NOT NULL;

CREATE TABLE manifest (
    tenant             TEXT    NOT NULL,
    digest             BLOB    NOT NULL CHECK (length(digest) = 32),
    sequence           INTEGER NOT NULL,
    uploaded_at        INTEGER NOT NULL,
    envelope           BLOB    NOT NULL,
    PRIMARY KEY (tenant, digest)
) STRICT;

-- The image bytes are not here: they lie in a folder under `digest`.
CREATE TABLE release (
    tenant             TEXT    NOT NULL,
    id                 INTEGER NOT NULL,
    vendor             TEXT    NOT NULL,
    class              TEXT    NOT NULL,
    vendor_id          BLOB    NOT NULL CHECK (length(vendor_id) = 16),
    class_id           BLOB    NOT NULL CHECK (length(class_id) = 16),
    component          BLOB    NOT NULL,
    version            TEXT    NOT NULL,
    digest             BLOB    NOT NULL CHECK (length(digest) = 32),
    size               INTEGER NOT NULL,
    open               INTEGER NOT NULL CHECK (open IN (0, 1)),
    published_at       INTEGER NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, vendor_id, class_id, component, digest),
    UNIQUE (tenant, vendor_id, class_id, component, version)
) STRICT;
CREATE INDEX release_by_digest ON release (tenant, digest);

-- `base` and `algorithm` are empty and 0 for a full image, `recipient` is empty unless the resource is for one identity:
-- NULL would not be equal to NULL in the key. Content key and content digest are one row, so one commit.
CREATE TABLE resource (
    tenant             TEXT    NOT NULL,
    target             BLOB    NOT NULL CHECK (length(target) = 32),
    base               BLOB    NOT NULL CHECK (length(base) IN (0, 32)),
    algorithm          INTEGER NOT NULL,
    mode               TEXT    NOT NULL CHECK (mode IN ('shared', 'individual', 'open')),
    recipient          TEXT    NOT NULL,
    content            BLOB    NOT NULL CHECK (length(content) = 32),
    content_size       INTEGER NOT NULL,
    plain              BLOB    NOT NULL CHECK (length(plain) = 32),
    plain_size         INTEGER NOT NULL,
    target_size        INTEGER NOT NULL,
    block              INTEGER NOT NULL,
    root               BLOB    NOT NULL CHECK (length(root) = 32),
    cipher             INTEGER,
    key_sealed         BLOB,
    iv                 BLOB,
    base_size          INTEGER,
    patch_ram          INTEGER,
    patch_parameters   BLOB,
    made_at            INTEGER NOT NULL,
    PRIMARY KEY (tenant, target, base, algorithm, mode, recipient),
    CHECK ((mode = 'individual') = (recipient <> '')),
    CHECK ((mode = 'open') = (key_sealed IS NULL)),
    CHECK ((cipher IS NULL) = (key_sealed IS NULL) AND (iv IS NULL) = (key_sealed IS NULL)),
    CHECK ((length(base) = 0) = (base_size IS NULL)),
    CHECK ((patch_ram IS NULL) = (base_size IS NULL) AND (patch_parameters IS NULL) = (base_size IS NULL))
) STRICT;
CREATE INDEX resource_by_root ON resource (tenant, root);

CREATE TABLE campaign (
    tenant             TEXT    NOT NULL,
    id                 INTEGER NOT NULL,
    manifest           BLOB    NOT NULL,
    targets            TEXT    NOT NULL,
    policy             TEXT    NOT NULL,
    state              TEXT    NOT NULL,
    launched_at        INTEGER NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, manifest) REFERENCES manifest (tenant, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX campaign_by_state ON campaign (tenant, state, id);

-- How far each device of a campaign is: the fold of its events, kept in the same commit as they.
CREATE TABLE track (
    tenant             TEXT    NOT NULL,
    campaign           INTEGER NOT NULL,
    endpoint           TEXT    NOT NULL,
    class              TEXT    NOT NULL,
    stage              TEXT    NOT NULL,
    since              INTEGER NOT NULL,
    grant_number       INTEGER NOT NULL,
    offers_failed      INTEGER NOT NULL,
    failed_once        INTEGER NOT NULL CHECK (failed_once IN (0, 1)),
    reason             TEXT,
    PRIMARY KEY (tenant, campaign, endpoint),
    FOREIGN KEY (tenant, campaign) REFERENCES campaign (tenant, id),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX track_by_endpoint ON track (tenant, endpoint, campaign);

CREATE TABLE alarm (
    tenant             TEXT    NOT NULL,
    day                INTEGER NOT NULL,
    kind               TEXT    NOT NULL,
    subject            TEXT    NOT NULL,
    count              INTEGER NOT NULL,
    first_at           INTEGER NOT NULL,
    last_at            INTEGER NOT NULL,
    identity           TEXT    NOT NULL,
    address            TEXT    NOT NULL,
    other_address      TEXT,
    cause              TEXT    NOT NULL,
    PRIMARY KEY (tenant, day, kind, subject)
) STRICT, WITHOUT ROWID;

-- Idempotency keys of commands, bound to the hash of the command's body.
CREATE TABLE command (
    tenant             TEXT    NOT NULL,
    request_id         TEXT    NOT NULL,
    body               BLOB    NOT NULL CHECK (length(body) = 32),
    reply              BLOB    NOT NULL,
    at                 INTEGER NOT NULL,
    PRIMARY KEY (tenant, request_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE anchors (
    tenant             TEXT    NOT NULL,
    edition            INTEGER NOT NULL,
    document           BLOB    NOT NULL,
    stored_at          INTEGER NOT NULL,
    PRIMARY KEY (tenant, edition)
) STRICT;

-- What the server has generated for itself, such as its sealed distributor key.
CREATE TABLE setting (
    tenant             TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    value_sealed       BLOB    NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
