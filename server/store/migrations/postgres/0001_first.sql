-- The first schema on PostgreSQL: what the migrations of SQLite come to. A released migration is never edited.
--
-- Every table has the tenant first in its primary key. Times are seconds since 1970. Digests are the 32 bytes of SHA-256.
-- A column that ends in _sealed holds what the vault has encrypted: the store cannot open it. Names are compared and
-- ordered by their bytes, as SQLite does: pages that end at a name must mean the same in both.

-- Numbers that the store gives out: campaigns, releases.
CREATE TABLE counter (
    tenant             TEXT COLLATE "C" NOT NULL,
    name               TEXT COLLATE "C" NOT NULL,
    last               BIGINT  NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- A gateway's name is its DTLS identity, so no device has it; the store looks when either is added.
-- Editions never fall, not even when a gateway is enrolled again under the same name: they are at least the second in
-- which they were raised.
CREATE TABLE gateway (
    tenant             TEXT COLLATE "C" NOT NULL,
    name               TEXT COLLATE "C" NOT NULL,
    uri                TEXT    NOT NULL,
    psk_sealed         BYTEA   NOT NULL,
    bundle_edition     BIGINT  NOT NULL,
    children_edition   BIGINT  NOT NULL,
    added_at           BIGINT  NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- With the gateway that lists it, and the key of the link between the two.
CREATE TABLE device (
    tenant             TEXT COLLATE "C" NOT NULL,
    endpoint           TEXT COLLATE "C" NOT NULL,
    vendor             TEXT    NOT NULL,
    class              TEXT    NOT NULL,
    security           TEXT    NOT NULL CHECK (security IN ('psk', 'none')),
    dtls_sealed        BYTEA,
    enabled            BOOLEAN NOT NULL,
    added_at           BIGINT  NOT NULL,
    gateway            TEXT COLLATE "C",
    link_sealed        BYTEA,
    PRIMARY KEY (tenant, endpoint),
    CHECK ((security = 'psk') = (dtls_sealed IS NOT NULL)),
    CHECK ((gateway IS NULL) = (link_sealed IS NULL))
);
CREATE INDEX device_by_gateway ON device (tenant, gateway, endpoint) WHERE gateway IS NOT NULL;

-- A device may have several identities; each has a name of its own and one record.
CREATE TABLE identity (
    tenant             TEXT COLLATE "C" NOT NULL,
    id                 TEXT COLLATE "C" NOT NULL,
    endpoint           TEXT COLLATE "C" NOT NULL,
    chain_length       BIGINT  NOT NULL CHECK (chain_length BETWEEN 1 AND 4096),
    revision           BIGINT  NOT NULL,
    state              BYTEA   NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
);
CREATE INDEX identity_by_endpoint ON identity (tenant, endpoint);

-- Keys per epoch. seed_sealed is NULL once the seed was destroyed: the first message under the next seed has proved that
-- nobody needs it. Its links stay, so that reports of that epoch are verified for as long as the row is kept.
CREATE TABLE epoch (
    tenant             TEXT COLLATE "C" NOT NULL,
    id                 TEXT COLLATE "C" NOT NULL,
    epoch              BIGINT  NOT NULL CHECK (epoch BETWEEN 0 AND 65535),
    seed_sealed        BYTEA,
    links_sealed       BYTEA   NOT NULL,
    PRIMARY KEY (tenant, id, epoch),
    FOREIGN KEY (tenant, id) REFERENCES identity (tenant, id)
);

-- What operators said about the whole store: how often it was restored from a backup, and until when the places that
-- devices prove are taken.
CREATE TABLE restore (
    tenant             TEXT COLLATE "C" NOT NULL,
    count              BIGINT  NOT NULL,
    resync_until       BIGINT  NOT NULL,
    PRIMARY KEY (tenant)
);

-- The ledger: only ever appended to. `body` carries its own version number.
CREATE TABLE event (
    tenant             TEXT COLLATE "C" NOT NULL,
    seq                BIGINT  NOT NULL,
    at                 BIGINT  NOT NULL,
    campaign           BIGINT,
    endpoint           TEXT COLLATE "C",
    body               TEXT    NOT NULL,
    PRIMARY KEY (tenant, seq)
);
CREATE INDEX event_by_campaign ON event (tenant, campaign, seq) WHERE campaign IS NOT NULL;
CREATE INDEX event_by_endpoint ON event (tenant, endpoint, seq) WHERE endpoint IS NOT NULL;
-- What happened to a campaign as a whole is a handful among the events of its devices.
CREATE INDEX event_of_campaign ON event (tenant, campaign, seq) WHERE campaign IS NOT NULL AND endpoint IS NULL;
-- What people did is a handful among what devices did. The condition stands word for word in the query that uses it.
CREATE INDEX event_act ON event (tenant, seq) WHERE
    (body::jsonb #>> '{what,kind}' IN ('launched', 'paused', 'resumed', 'cancelled', 'operated', 'done')
        OR body::jsonb #>> '{what,kind}' = 'retried' AND endpoint IS NULL);

-- How far the ledger was handed to a broker: every event up to `seq` was acknowledged by it.
CREATE TABLE publication (
    tenant             TEXT COLLATE "C" NOT NULL,
    seq                BIGINT  NOT NULL,
    PRIMARY KEY (tenant)
);

CREATE TABLE manifest (
    tenant             TEXT COLLATE "C" NOT NULL,
    digest             BYTEA   NOT NULL CHECK (length(digest) = 32),
    sequence           BIGINT  NOT NULL,
    uploaded_at        BIGINT  NOT NULL,
    envelope           BYTEA   NOT NULL,
    PRIMARY KEY (tenant, digest)
);

-- The image bytes are not here: they lie in a folder under `digest`.
CREATE TABLE release (
    tenant             TEXT COLLATE "C" NOT NULL,
    id                 BIGINT  NOT NULL,
    vendor             TEXT    NOT NULL,
    class              TEXT    NOT NULL,
    vendor_id          BYTEA   NOT NULL CHECK (length(vendor_id) = 16),
    class_id           BYTEA   NOT NULL CHECK (length(class_id) = 16),
    component          BYTEA   NOT NULL,
    version            TEXT COLLATE "C" NOT NULL,
    digest             BYTEA   NOT NULL CHECK (length(digest) = 32),
    size               BIGINT  NOT NULL,
    open               BOOLEAN NOT NULL,
    published_at       BIGINT  NOT NULL,
    PRIMARY KEY (tenant, id),
    UNIQUE (tenant, vendor_id, class_id, component, digest),
    UNIQUE (tenant, vendor_id, class_id, component, version)
);
CREATE INDEX release_by_digest ON release (tenant, digest);

-- `base` and `algorithm` are empty and 0 for a full image, `recipient` is empty unless the resource is for one identity:
-- NULL would not be equal to NULL in the key. Content key and content digest are one row, so one commit.
CREATE TABLE resource (
    tenant             TEXT COLLATE "C" NOT NULL,
    target             BYTEA   NOT NULL CHECK (length(target) = 32),
    base               BYTEA   NOT NULL CHECK (length(base) IN (0, 32)),
    algorithm          BIGINT  NOT NULL,
    mode               TEXT COLLATE "C" NOT NULL CHECK (mode IN ('shared', 'individual', 'open')),
    recipient          TEXT COLLATE "C" NOT NULL,
    content            BYTEA   NOT NULL CHECK (length(content) = 32),
    content_size       BIGINT  NOT NULL,
    plain              BYTEA   NOT NULL CHECK (length(plain) = 32),
    plain_size         BIGINT  NOT NULL,
    target_size        BIGINT  NOT NULL,
    block              BIGINT  NOT NULL,
    root               BYTEA   NOT NULL CHECK (length(root) = 32),
    cipher             BIGINT,
    key_sealed         BYTEA,
    iv                 BYTEA,
    base_size          BIGINT,
    patch_ram          BIGINT,
    patch_parameters   BYTEA,
    made_at            BIGINT  NOT NULL,
    PRIMARY KEY (tenant, target, base, algorithm, mode, recipient),
    CHECK ((mode = 'individual') = (recipient <> '')),
    CHECK ((mode = 'open') = (key_sealed IS NULL)),
    CHECK ((cipher IS NULL) = (key_sealed IS NULL) AND (iv IS NULL) = (key_sealed IS NULL)),
    CHECK ((length(base) = 0) = (base_size IS NULL)),
    CHECK ((patch_ram IS NULL) = (base_size IS NULL) AND (patch_parameters IS NULL) = (base_size IS NULL))
);
CREATE INDEX resource_by_root ON resource (tenant, root);

CREATE TABLE campaign (
    tenant             TEXT COLLATE "C" NOT NULL,
    id                 BIGINT  NOT NULL,
    manifest           BYTEA   NOT NULL,
    targets            TEXT    NOT NULL,
    policy             TEXT    NOT NULL,
    state              TEXT    NOT NULL,
    launched_at        BIGINT  NOT NULL,
    PRIMARY KEY (tenant, id),
    FOREIGN KEY (tenant, manifest) REFERENCES manifest (tenant, digest)
);
CREATE INDEX campaign_by_state ON campaign (tenant, state, id);

-- How far each device of a campaign is: the fold of its events, kept in the same commit as they.
CREATE TABLE track (
    tenant             TEXT COLLATE "C" NOT NULL,
    campaign           BIGINT  NOT NULL,
    endpoint           TEXT COLLATE "C" NOT NULL,
    class              TEXT    NOT NULL,
    stage              TEXT    NOT NULL,
    since              BIGINT  NOT NULL,
    grant_number       BIGINT  NOT NULL,
    offers_failed      BIGINT  NOT NULL,
    failed_once        BOOLEAN NOT NULL,
    reason             TEXT,
    PRIMARY KEY (tenant, campaign, endpoint),
    FOREIGN KEY (tenant, campaign) REFERENCES campaign (tenant, id),
    FOREIGN KEY (tenant, endpoint) REFERENCES device (tenant, endpoint)
);
CREATE INDEX track_by_endpoint ON track (tenant, endpoint, campaign);

-- The newest bundle of each campaign that a gateway may hold. A row is there before the bundle leaves, and is withdrawn
-- once the gateway has said that it dropped the bundle.
CREATE TABLE bundle (
    tenant             TEXT COLLATE "C" NOT NULL,
    gateway            TEXT COLLATE "C" NOT NULL,
    campaign           BIGINT  NOT NULL,
    edition            BIGINT  NOT NULL,
    not_after          BIGINT  NOT NULL,
    withdrawn          BOOLEAN NOT NULL,
    PRIMARY KEY (tenant, gateway, campaign),
    FOREIGN KEY (tenant, gateway) REFERENCES gateway (tenant, name) ON DELETE CASCADE,
    FOREIGN KEY (tenant, campaign) REFERENCES campaign (tenant, id)
);

CREATE TABLE alarm (
    tenant             TEXT COLLATE "C" NOT NULL,
    day                BIGINT  NOT NULL,
    kind               TEXT COLLATE "C" NOT NULL,
    subject            TEXT COLLATE "C" NOT NULL,
    count              BIGINT  NOT NULL,
    first_at           BIGINT  NOT NULL,
    last_at            BIGINT  NOT NULL,
    identity           TEXT    NOT NULL,
    address            TEXT    NOT NULL,
    other_address      TEXT,
    cause              TEXT    NOT NULL,
    PRIMARY KEY (tenant, day, kind, subject)
);

-- Idempotency keys of commands, bound to the hash of the command's body.
CREATE TABLE command (
    tenant             TEXT COLLATE "C" NOT NULL,
    request_id         TEXT COLLATE "C" NOT NULL,
    body               BYTEA   NOT NULL CHECK (length(body) = 32),
    reply              BYTEA   NOT NULL,
    at                 BIGINT  NOT NULL,
    PRIMARY KEY (tenant, request_id)
);

CREATE TABLE anchors (
    tenant             TEXT COLLATE "C" NOT NULL,
    edition            BIGINT  NOT NULL,
    document           BYTEA   NOT NULL,
    stored_at          BIGINT  NOT NULL,
    PRIMARY KEY (tenant, edition)
);

-- What the server has generated for itself, such as its sealed distributor key.
CREATE TABLE setting (
    tenant             TEXT COLLATE "C" NOT NULL,
    name               TEXT COLLATE "C" NOT NULL,
    value_sealed       BYTEA   NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- DTLS sessions of devices that sleep. A row is all that is left of its session: it is taken out before the session goes
-- on, and keys and sequence numbers in it are sealed.
CREATE TABLE session (
    tenant             TEXT COLLATE "C" NOT NULL,
    session            BYTEA   NOT NULL,
    identity           TEXT COLLATE "C" NOT NULL,
    address            TEXT    NOT NULL,
    established_at     BIGINT  NOT NULL,
    slept_at           BIGINT  NOT NULL,
    expires_at         BIGINT  NOT NULL,
    state_sealed       BYTEA   NOT NULL,
    registration       BYTEA,
    PRIMARY KEY (tenant, session)
);
CREATE INDEX session_of_identity ON session (tenant, identity, slept_at);
CREATE INDEX session_by_sleep ON session (tenant, slept_at, session);
CREATE INDEX session_by_end ON session (tenant, expires_at);

-- When each device was last heard, and from where: registrations are in memory, and this outlives a restart. Written in
-- batches, a few seconds late; a crash loses at most the last batch.
CREATE TABLE contact (
    tenant             TEXT COLLATE "C" NOT NULL,
    endpoint           TEXT COLLATE "C" NOT NULL,
    registered_at      BIGINT  NOT NULL,
    heard_at           BIGINT  NOT NULL,
    address            TEXT    NOT NULL,
    PRIMARY KEY (tenant, endpoint)
);
