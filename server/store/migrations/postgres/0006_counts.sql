-- Numbers that nobody has to count, and what campaigns are asked without being read. A released migration is never edited.

-- How many devices of a class came in which hour, and how many of these were given up since: kept in the commit that enrols
-- or retires them. Hours are counted from 1970.
CREATE TABLE device_count (
    tenant             TEXT COLLATE "C" NOT NULL,
    class              TEXT COLLATE "C" NOT NULL,
    hour               BIGINT NOT NULL,
    devices            BIGINT NOT NULL,
    given_up           BIGINT NOT NULL,
    PRIMARY KEY (tenant, class, hour)
);
INSERT INTO device_count (tenant, class, hour, devices, given_up)
    SELECT tenant, class, added_at / 3600, count(*), count(retired_at) FROM device
    GROUP BY tenant, class, added_at / 3600;
-- It was there to count by.
DROP INDEX device_by_class;

-- Which of its campaigns concern a device: their targets, which may be long, stand before it in their rows.
CREATE INDEX campaign_in_short ON campaign (tenant, id, state, manifest);
