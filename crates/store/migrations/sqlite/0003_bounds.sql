-- Which store this is and how far it has come, so that a copy, or a backup that was put back, is known as one. Written with every
-- transaction. `copied`: this file is a backup. `put_back`: why the memory is older than the world, until the engine knows.
CREATE TABLE identity (
    only_one   INTEGER PRIMARY KEY CHECK (only_one = 1),
    instance   TEXT NOT NULL,
    writes     INTEGER NOT NULL,
    written_ms INTEGER NOT NULL,
    inode      INTEGER,
    machine    TEXT,
    copied     INTEGER NOT NULL,
    put_back   TEXT
) STRICT;
INSERT INTO identity VALUES (1, lower(hex(randomblob(16))), 0, 0, NULL, NULL, 0, NULL);

-- An event was stored twice: in columns, and as JSON. The incident is a column now, and the JSON is gone.
ALTER TABLE events ADD COLUMN incident INTEGER;
UPDATE events SET incident = json_extract(body, '$.incident');
ALTER TABLE events DROP COLUMN body;
CREATE INDEX events_by_incident ON events (incident, seq) WHERE incident IS NOT NULL;
-- Routine (recovery points that went well, and the like) is bounded apart from what people look for later.
CREATE INDEX events_routine ON events (seq) WHERE severity = 0 AND incident IS NULL;
CREATE INDEX events_notable ON events (seq) WHERE severity > 0 OR incident IS NOT NULL;

-- Definitions hold long XML that repeats itself: packed (see src/packed.rs). Rows of before are text and stay so until they change.
CREATE TABLE definitions_packed (key TEXT PRIMARY KEY, body BLOB NOT NULL, updated_ms INTEGER NOT NULL) STRICT;
INSERT INTO definitions_packed SELECT key, CAST(body AS BLOB), updated_ms FROM definitions;
DROP TABLE definitions;
ALTER TABLE definitions_packed RENAME TO definitions;

-- Samples by time first: they are written and forgotten at its ends.
CREATE TABLE samples_by_time_first (
    at_ms       INTEGER NOT NULL,
    workload    TEXT NOT NULL,
    cpu_percent REAL NOT NULL,
    read_bps    REAL NOT NULL,
    write_bps   REAL NOT NULL,
    receive_bps REAL NOT NULL,
    send_bps    REAL NOT NULL,
    PRIMARY KEY (at_ms, workload)
) STRICT, WITHOUT ROWID;
INSERT INTO samples_by_time_first SELECT at_ms, workload, cpu_percent, read_bps, write_bps, receive_bps, send_bps FROM samples;
DROP TABLE samples;
ALTER TABLE samples_by_time_first RENAME TO samples;
