-- Keys per epoch: an identity that re-seeds has a seed and a chain of its own for each epoch.

-- seed_sealed is NULL once the seed was destroyed: the first message under the next seed has proved that nobody needs it.
-- Its links stay, so that reports of that epoch are verified for as long as the row is kept.
CREATE TABLE epoch (
    tenant             TEXT    NOT NULL,
    id                 TEXT    NOT NULL,
    epoch              INTEGER NOT NULL CHECK (epoch BETWEEN 0 AND 65535),
    seed_sealed        BLOB,
    links_sealed       BLOB    NOT NULL,
    PRIMARY KEY (tenant, id, epoch),
    FOREIGN KEY (tenant, id) REFERENCES identity (tenant, id)
) STRICT, WITHOUT ROWID;

-- Until here every identity is in the epoch that it left the factory with.
INSERT INTO epoch (tenant, id, epoch, seed_sealed, links_sealed)
    SELECT tenant, id, 0, seed_sealed, links_sealed FROM identity;
ALTER TABLE identity DROP COLUMN seed_sealed;
ALTER TABLE identity DROP COLUMN links_sealed;

-- What operators said about the whole store: how often it was restored from a backup, and until when the places that
-- devices prove are taken.
CREATE TABLE restore (
    tenant             TEXT    NOT NULL,
    count              INTEGER NOT NULL,
    resync_until       INTEGER NOT NULL,
    PRIMARY KEY (tenant)
) STRICT, WITHOUT ROWID;
