-- The first memory: what the engine must not forget, what happened, and how busy workloads were.

-- "MSTY": tells our file from any other SQLite database.
PRAGMA application_id = 1297306713;

-- Rows of the engine, one table a kind. The body is the engine's own JSON; updated_ms is the time of the step that wrote it.
CREATE TABLE meta        (key TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body)), updated_ms INTEGER NOT NULL) STRICT;
CREATE TABLE hosts       (key TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body)), updated_ms INTEGER NOT NULL) STRICT;
CREATE TABLE workloads   (key TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body)), updated_ms INTEGER NOT NULL) STRICT;
CREATE TABLE definitions (key TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body)), updated_ms INTEGER NOT NULL) STRICT;
CREATE TABLE points      (key TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body)), updated_ms INTEGER NOT NULL) STRICT;
CREATE TABLE orders      (key TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body)), updated_ms INTEGER NOT NULL) STRICT;
CREATE TABLE alarms      (key TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body)), updated_ms INTEGER NOT NULL) STRICT;
CREATE TABLE incidents   (key TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body)), updated_ms INTEGER NOT NULL) STRICT;
CREATE TABLE config      (key TEXT PRIMARY KEY, body TEXT NOT NULL CHECK (json_valid(body)), updated_ms INTEGER NOT NULL) STRICT;

-- History, append only. AUTOINCREMENT: a number is never used again, so that a follower can ask for "after 4711".
CREATE TABLE events (
    seq          INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms        INTEGER NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id   TEXT NOT NULL,
    severity     INTEGER NOT NULL,
    code         TEXT NOT NULL,
    text         TEXT NOT NULL,
    body         TEXT NOT NULL CHECK (json_valid(body))
) STRICT;
CREATE INDEX events_by_time ON events (at_ms);
CREATE INDEX events_by_subject ON events (subject_kind, subject_id, at_ms);

-- How busy a workload was over the interval that ended at at_ms.
CREATE TABLE samples (
    workload    TEXT NOT NULL,
    at_ms       INTEGER NOT NULL,
    cpu_percent REAL NOT NULL,
    read_bps    REAL NOT NULL,
    write_bps   REAL NOT NULL,
    receive_bps REAL NOT NULL,
    send_bps    REAL NOT NULL,
    PRIMARY KEY (workload, at_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX samples_by_time ON samples (at_ms);
