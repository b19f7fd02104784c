-- What belongs to one node and not to its image, bound to the tenant that the node had when it was set.
CREATE TABLE node_data (
    node TEXT PRIMARY KEY REFERENCES nodes (id),
    tenant TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    -- Digest of the volume that was written and read back last.
    written TEXT,
    body TEXT NOT NULL
);
