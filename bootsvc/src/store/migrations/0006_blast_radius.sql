-- Which groups a node belongs to, so that they can be counted; written with the node.
ALTER TABLE nodes ADD COLUMN approved BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN pool TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN rack TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN hardware_model TEXT NOT NULL DEFAULT '';
CREATE INDEX nodes_pool ON nodes (pool);
CREATE INDEX nodes_rack ON nodes (rack);
CREATE INDEX nodes_hardware_model ON nodes (hardware_model);

-- What verdicts wanted, for as long as it is counted. One row for each run of looking.
CREATE TABLE wishes (
    evidence TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    at BIGINT NOT NULL,
    action TEXT NOT NULL,
    -- 1: ordered or held; 0: seen from a running system, and nothing follows from it.
    counted BIGINT NOT NULL,
    pool TEXT NOT NULL,
    rack TEXT NOT NULL,
    hardware_model TEXT NOT NULL,
    cause TEXT NOT NULL
);
CREATE INDEX wishes_at ON wishes (at);

CREATE TABLE incidents (
    id TEXT PRIMARY KEY,
    is_open BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    allowed_until BIGINT NOT NULL,
    node_group TEXT NOT NULL,
    alike TEXT NOT NULL,
    body TEXT NOT NULL
);
-- One open incident for the same among the same, whatever the code above does.
CREATE UNIQUE INDEX incidents_open ON incidents (node_group, alike) WHERE is_open = 1;
CREATE INDEX incidents_opened ON incidents (opened_at);

CREATE TABLE incident_nodes (
    incident TEXT NOT NULL REFERENCES incidents (id),
    node TEXT NOT NULL,
    held_at BIGINT NOT NULL,
    -- The reason it is held with; if it is held for something else meanwhile, releasing leaves it so.
    reason TEXT NOT NULL,
    PRIMARY KEY (incident, node)
);
