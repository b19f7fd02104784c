-- Random; what the instance id of a node's data is made from, so that it says nothing of their content.
ALTER TABLE node_data ADD COLUMN instance TEXT NOT NULL
    DEFAULT '0000000000000000000000000000000000000000000000000000000000000000';
