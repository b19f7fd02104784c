-- Every policy and model that verdicts were made with, by the digest that they name, so that a verdict can be
-- made again long after the files have changed.
CREATE TABLE judgement_texts (
    digest TEXT PRIMARY KEY,
    first_used_at BIGINT NOT NULL,
    body TEXT NOT NULL
);
