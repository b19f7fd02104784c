-- An image that goes to a pool in stages. Everything that a tick needs is here, so a restart changes nothing.
CREATE TABLE waves (
    id TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    is_open BIGINT NOT NULL,
    pool TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
-- One open wave for each pool, whatever the code above does.
CREATE UNIQUE INDEX waves_open ON waves (pool) WHERE is_open = 1;
CREATE INDEX waves_started ON waves (started_at);

CREATE TABLE wave_nodes (
    wave TEXT NOT NULL REFERENCES waves (id),
    node TEXT NOT NULL,
    -- In which order they come; drawn from the wave, so that the canary is another one each time.
    place BIGINT NOT NULL,
    -- What became of it; JSON.
    result TEXT NOT NULL,
    PRIMARY KEY (wave, node)
);
CREATE INDEX wave_nodes_place ON wave_nodes (wave, place);
