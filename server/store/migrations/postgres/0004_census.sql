-- How many devices run what, for who watches. A released migration is never edited.

-- Up to which event of the ledger devices' images are counted.
CREATE TABLE census (
    tenant             TEXT COLLATE "C" NOT NULL,
    seq                BIGINT NOT NULL,
    PRIMARY KEY (tenant)
);

-- What each device was seen to run last. Devices that never told have no row.
CREATE TABLE census_running (
    tenant             TEXT COLLATE "C" NOT NULL,
    endpoint           TEXT COLLATE "C" NOT NULL,
    class              TEXT NOT NULL,
    image              BYTEA NOT NULL CHECK (octet_length(image) = 32),
    since              BIGINT NOT NULL,
    PRIMARY KEY (tenant, endpoint)
);

-- How many more devices of a class (or fewer) ran an image after an hour than before it; the sum over all hours is how
-- many run it now. Hours are counted from 1970.
CREATE TABLE census_change (
    tenant             TEXT COLLATE "C" NOT NULL,
    hour               BIGINT NOT NULL,
    class              TEXT COLLATE "C" NOT NULL,
    image              BYTEA NOT NULL CHECK (octet_length(image) = 32),
    devices            BIGINT NOT NULL,
    PRIMARY KEY (tenant, hour, class, image)
);

-- Devices are counted by class and by when they came without reading their rows.
CREATE INDEX device_by_class ON device (tenant, class, added_at);
CREATE INDEX contact_by_time ON contact (tenant, heard_at);
