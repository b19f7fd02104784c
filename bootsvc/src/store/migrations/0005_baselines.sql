-- What a node's counters said when they were last found right; JSON, one row for each node.
CREATE TABLE baselines (
    node TEXT PRIMARY KEY REFERENCES nodes (id),
    changed_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
