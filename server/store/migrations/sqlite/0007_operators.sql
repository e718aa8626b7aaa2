-- What people need who run the server. A released migration is never edited.

-- When each device was last heard, and from where: registrations are in memory, and this outlives a restart. Written in
-- batches, a few seconds late; a crash loses at most the last batch.
CREATE TABLE contact (
    tenant             TEXT    NOT NULL,
    endpoint           TEXT    NOT NULL,
    registered_at      INTEGER NOT NULL,
    heard_at           INTEGER NOT NULL,
    address            TEXT    NOT NULL,
    PRIMARY KEY (tenant, endpoint)
) STRICT, WITHOUT ROWID;

-- What people did is a handful among what devices did. The condition stands word for word in the query that uses it.
CREATE INDEX event_act ON event (tenant, seq) WHERE
    (body ->> '$.what.kind' IN ('launched', 'paused', 'resumed', 'cancelled', 'operated', 'done')
        OR body ->> '$.what.kind' = 'retried' AND endpoint IS NULL);
