-- Gateways: caches near the devices, each with the devices that it lists. A released migration is never edited.

-- A gateway's name is its DTLS identity, so no device has it; the store looks when either is added.
-- Editions never fall, not even when a gateway is enrolled again under the same name: they are at least the second in
-- which they were raised.
CREATE TABLE gateway (
    tenant             TEXT    NOT NULL,
    name               TEXT    NOT NULL,
    uri                TEXT    NOT NULL,
    psk_sealed         BLOB    NOT NULL,
    bundle_edition     INTEGER NOT NULL,
    children_edition   INTEGER NOT NULL,
    added_at           INTEGER NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- The gateway that lists a device, and the key of the link between the two.
ALTER TABLE device ADD COLUMN gateway TEXT;
ALTER TABLE device ADD COLUMN link_sealed BLOB CHECK ((gateway IS NULL) = (link_sealed IS NULL));
CREATE INDEX device_by_gateway ON device (tenant, gateway, endpoint) WHERE gateway IS NOT NULL;

-- The newest bundle of each campaign that a gateway may hold. A row is there before the bundle leaves, and is withdrawn
-- once the gateway has said that it dropped the bundle.
CREATE TABLE bundle (
    tenant             TEXT    NOT NULL,
    gateway            TEXT    NOT NULL,
    campaign           INTEGER NOT NULL,
    edition            INTEGER NOT NULL,
    not_after          INTEGER NOT NULL,
    withdrawn          INTEGER NOT NULL CHECK (withdrawn IN (0, 1)),
    PRIMARY KEY (tenant, gateway, campaign),
    FOREIGN KEY (tenant, gateway) REFERENCES gateway (tenant, name) ON DELETE CASCADE,
    FOREIGN KEY (tenant, campaign) REFERENCES campaign (tenant, id)
) STRICT, WITHOUT ROWID;
