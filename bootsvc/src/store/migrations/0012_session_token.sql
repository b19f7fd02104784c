-- Which one-time token a session was made from: a proof of boot must be about the boot that was given it. Null in
-- sessions of before, which prove nothing.
ALTER TABLE sessions ADD COLUMN token TEXT;
