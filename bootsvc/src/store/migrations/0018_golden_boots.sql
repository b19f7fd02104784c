-- Boots that a person found right for every node of a hardware model.
CREATE TABLE golden_boots (
    hardware_model TEXT NOT NULL,
    -- 'firmware' or 'booted'.
    part TEXT NOT NULL,
    -- What it is known by (attest::golden).
    digest TEXT NOT NULL,
    -- Of which node's boot it is.
    node TEXT NOT NULL,
    -- For people, such as the firmware's version.
    label TEXT NOT NULL,
    why TEXT NOT NULL,
    recorded_at BIGINT NOT NULL,
    PRIMARY KEY (hardware_model, part, digest)
);
