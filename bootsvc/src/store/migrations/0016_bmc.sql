-- What the agent of a session was told of its node's management controller; JSON. It is judged with the same.
ALTER TABLE sessions ADD COLUMN bmc TEXT NOT NULL DEFAULT 'null';
