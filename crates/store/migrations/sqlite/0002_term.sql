-- Whose turn it is to write: whoever opens the store takes the next term, and what an older one writes is refused.
CREATE TABLE term (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    number   INTEGER NOT NULL,
    holder   TEXT NOT NULL
) STRICT;
INSERT INTO term (only_one, number, holder) VALUES (1, 0, 'nobody');
