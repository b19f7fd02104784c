-- What each node's parts measured when they were last found right: one value for each hardware model.
CREATE TABLE peer_values (
    node TEXT NOT NULL REFERENCES nodes (id),
    -- 1: the machine as a whole; 0: a disk or a GPU.
    machine BIGINT NOT NULL,
    hardware_model TEXT NOT NULL,
    reading TEXT NOT NULL,
    tier TEXT NOT NULL,
    value BIGINT NOT NULL,
    taken_at BIGINT NOT NULL,
    PRIMARY KEY (node, machine, hardware_model, reading, tier)
);
CREATE INDEX peer_values_newest ON peer_values (machine, hardware_model, reading, tier, taken_at);
CREATE INDEX peer_values_taken_at ON peer_values (taken_at);

-- The middle of the newest of them for each hardware model.
CREATE TABLE peer_middles (
    machine BIGINT NOT NULL,
    hardware_model TEXT NOT NULL,
    reading TEXT NOT NULL,
    tier TEXT NOT NULL,
    median BIGINT NOT NULL,
    median_deviation BIGINT NOT NULL,
    nodes BIGINT NOT NULL,
    renewed_at BIGINT NOT NULL,
    PRIMARY KEY (machine, hardware_model, reading, tier)
);

-- What the agent of a session was told is usual; JSON. It is judged with the same.
ALTER TABLE sessions ADD COLUMN peers TEXT NOT NULL DEFAULT '[]';
