-- How campaigns stand in numbers, so that nobody reads a million devices to know it. A released migration is never edited.

-- How many devices of a campaign are in which stage: kept in the commit that moves them. `reason` is empty but for devices
-- that failed or were refused, and cut to 200 characters.
CREATE TABLE track_count (
    tenant             TEXT COLLATE "C" NOT NULL,
    campaign           BIGINT NOT NULL,
    class              TEXT COLLATE "C" NOT NULL,
    stage              TEXT COLLATE "C" NOT NULL,
    failed_once        BOOLEAN NOT NULL,
    reason             TEXT COLLATE "C" NOT NULL,
    devices            BIGINT NOT NULL,
    PRIMARY KEY (tenant, campaign, class, stage, failed_once, reason),
    FOREIGN KEY (tenant, campaign) REFERENCES campaign (tenant, id)
);

INSERT INTO track_count (tenant, campaign, class, stage, failed_once, reason, devices)
    SELECT tenant, campaign, class, stage, failed_once,
        CASE WHEN stage IN ('failed', 'refused') THEN substr(coalesce(reason, ''), 1, 200) ELSE '' END AS why, count(*)
    FROM track GROUP BY tenant, campaign, class, stage, failed_once, why;

-- Who is next, who is at work, who failed: found without passing over all others.
CREATE INDEX track_by_stage ON track (tenant, campaign, stage, endpoint);

-- Devices that were given up are taken off every count, and are few.
CREATE INDEX device_given_up ON device (tenant, endpoint, class, added_at) WHERE retired_at IS NOT NULL;

-- Until here they were counted by what they ran.
INSERT INTO census_change (tenant, hour, class, image, devices)
    SELECT ran.tenant, device.retired_at / 3600, ran.class, ran.image, -count(*)
    FROM census_running AS ran JOIN device ON device.tenant = ran.tenant AND device.endpoint = ran.endpoint
    WHERE device.retired_at IS NOT NULL GROUP BY ran.tenant, device.retired_at / 3600, ran.class, ran.image
    ON CONFLICT (tenant, hour, class, image) DO UPDATE SET devices = census_change.devices + excluded.devices;
DELETE FROM census_running WHERE EXISTS (SELECT 1 FROM device WHERE device.tenant = census_running.tenant
    AND device.endpoint = census_running.endpoint AND device.retired_at IS NOT NULL);
