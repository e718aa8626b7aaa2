-- How far the ledger was handed to a broker: every event up to `seq` was acknowledged by it.
CREATE TABLE publication (
    tenant             TEXT    NOT NULL,
    seq                INTEGER NOT NULL,
    PRIMARY KEY (tenant)
) STRICT, WITHOUT ROWID;

-- What happened to a campaign as a whole is a handful among the events of its devices.
CREATE INDEX event_of_campaign ON event (tenant, campaign, seq) WHERE campaign IS NOT NULL AND endpoint IS NULL;
