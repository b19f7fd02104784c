-- Columns: TEXT, BIGINT and BLOB only, so that the same statements run on SQLite and PostgreSQL.
-- Booleans are BIGINT 0/1, times are milliseconds since 1970, ids and JSON are TEXT.
CREATE TABLE nodes (
    id TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    system_uuid TEXT,
    serial TEXT,
    first_seen BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX nodes_serial ON nodes (serial);

CREATE TABLE macs (
    mac TEXT PRIMARY KEY,
    node TEXT NOT NULL REFERENCES nodes (id)
);
CREATE INDEX macs_node ON macs (node);

CREATE TABLE leases (
    interface TEXT NOT NULL,
    address TEXT NOT NULL,
    client TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (interface, address)
);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    node TEXT NOT NULL REFERENCES nodes (id),
    is_open BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
-- One open job for each node, whatever the code above does.
CREATE UNIQUE INDEX jobs_open ON jobs (node) WHERE is_open = 1;
CREATE INDEX jobs_created ON jobs (created_at);

CREATE TABLE job_events (
    job TEXT NOT NULL REFERENCES jobs (id),
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job, number)
);

CREATE TABLE tokens (
    hash TEXT PRIMARY KEY,
    node TEXT NOT NULL REFERENCES nodes (id),
    mac TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX tokens_node ON tokens (node);

CREATE TABLE sessions (
    hash TEXT PRIMARY KEY,
    node TEXT NOT NULL REFERENCES nodes (id),
    job TEXT,
    boot_id TEXT NOT NULL,
    nonce TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_node ON sessions (node);

CREATE TABLE credentials (
    hash TEXT PRIMARY KEY,
    node TEXT NOT NULL REFERENCES nodes (id),
    job TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX credentials_node ON credentials (node);

CREATE TABLE nonces (
    nonce TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);

CREATE TABLE orders (
    id TEXT PRIMARY KEY,
    job TEXT NOT NULL REFERENCES jobs (id),
    node TEXT NOT NULL REFERENCES nodes (id),
    session TEXT NOT NULL,
    nonce TEXT NOT NULL UNIQUE,
    plan_digest TEXT NOT NULL,
    plan TEXT NOT NULL,
    payload TEXT NOT NULL,
    signature TEXT NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);

CREATE TABLE begun_steps (
    order_id TEXT NOT NULL REFERENCES orders (id),
    step BIGINT NOT NULL,
    begun_at BIGINT NOT NULL,
    PRIMARY KEY (order_id, step)
);

CREATE TABLE evidence (
    id TEXT PRIMARY KEY,
    node TEXT NOT NULL REFERENCES nodes (id),
    job TEXT,
    received_at BIGINT NOT NULL,
    resident BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX evidence_node ON evidence (node, received_at);

CREATE TABLE decisions (
    evidence TEXT PRIMARY KEY REFERENCES evidence (id),
    node TEXT NOT NULL REFERENCES nodes (id),
    decided_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    action TEXT NOT NULL,
    because TEXT NOT NULL,
    context TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX decisions_node ON decisions (node, received_at);

CREATE TABLE images (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    imported_at BIGINT NOT NULL,
    minimum_disk_bytes BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX images_name ON images (name);

CREATE TABLE image_chunks (
    image TEXT NOT NULL REFERENCES images (id),
    digest TEXT NOT NULL,
    PRIMARY KEY (image, digest)
);
CREATE INDEX image_chunks_digest ON image_chunks (digest);

CREATE TABLE imports (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    changed_at BIGINT NOT NULL
);

CREATE TABLE import_chunks (
    import TEXT NOT NULL REFERENCES imports (id),
    digest TEXT NOT NULL,
    PRIMARY KEY (import, digest)
);
CREATE INDEX import_chunks_digest ON import_chunks (digest);
