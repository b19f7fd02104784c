-- The verdict of a node that a wave has looked at last, so that only new ones are looked at.
ALTER TABLE wave_nodes ADD COLUMN seen TEXT NOT NULL DEFAULT '';
