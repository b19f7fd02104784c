-- Verdicts that decided something: what they cost, and what became of them. Jobs are forgotten, this is not.
CREATE TABLE ledger (
    evidence TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    at BIGINT NOT NULL,
    action TEXT NOT NULL,
    -- 1: what became of it is not known yet.
    pending BIGINT NOT NULL,
    aftermath TEXT NOT NULL,
    aftermath_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX ledger_node ON ledger (node, at);
CREATE INDEX ledger_at ON ledger (at, evidence);
