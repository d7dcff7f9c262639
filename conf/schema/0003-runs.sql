-- Messages that are stored as they should be are counted: a run is a range of
-- messages, named by its first number (run_seq; 0: in no run), in which each is
-- the nth one, and nth_a of these are of conv_a.  Messages that are there
-- already are in no run: no row is touched.
-- min_program: 1

ALTER TABLE messages ADD COLUMN run_seq BIGINT UNSIGNED NOT NULL DEFAULT 0,
    ALGORITHM = INSTANT;

ALTER TABLE messages ADD COLUMN nth INT UNSIGNED NOT NULL DEFAULT 0,
    ALGORITHM = INSTANT;

ALTER TABLE messages ADD COLUMN nth_a INT UNSIGNED NOT NULL DEFAULT 0,
    ALGORITHM = INSTANT;
