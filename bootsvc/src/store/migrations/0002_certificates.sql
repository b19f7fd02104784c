-- Certificates outlast the jobs, orders and nodes that they speak of, so they refer to none of them.
CREATE TABLE certificates (
    id TEXT PRIMARY KEY,
    disk TEXT NOT NULL,
    number BIGINT NOT NULL,
    node TEXT NOT NULL,
    job TEXT NOT NULL,
    order_id TEXT NOT NULL,
    step BIGINT NOT NULL,
    issued_at BIGINT NOT NULL,
    summary TEXT NOT NULL,
    body TEXT NOT NULL
);
-- One certificate for each erase, and one chain for each disk, whatever the code above does.
CREATE UNIQUE INDEX certificates_order ON certificates (order_id, step);
CREATE UNIQUE INDEX certificates_disk ON certificates (disk, number);
CREATE INDEX certificates_node ON certificates (node, issued_at);
CREATE INDEX certificates_job ON certificates (job);
CREATE INDEX certificates_issued ON certificates (issued_at);
