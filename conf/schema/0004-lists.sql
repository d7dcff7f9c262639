-- The order of a user's conversations, and the groups of a user.
-- min_program: 1
--
-- last_id orders a user's direct conversations: the highest msg_id; 1: there is
-- no message; 0: not known, it is looked up with the user's next list (of a
-- group, always 0).  hot: last_id may be behind, by 10 s at most.
-- own_above is of a group: messages of the user above read_seq; NULL: they have
-- to be counted (rows older than this column, or too many at the last `read`).

ALTER TABLE conversations ADD COLUMN hot TINYINT UNSIGNED NOT NULL DEFAULT 0,
    ALGORITHM = INSTANT;

ALTER TABLE conversations ADD COLUMN last_id BIGINT UNSIGNED NOT NULL DEFAULT 0,
    ALGORITHM = INSTANT;

ALTER TABLE conversations ADD COLUMN own_above INT UNSIGNED NULL,
    ALGORITHM = INSTANT;

ALTER TABLE conversations ADD KEY by_last (uid, hot, last_id),
    ALGORITHM = INPLACE, LOCK = NONE;

ALTER TABLE members ADD KEY by_uid (uid, room),
    ALGORITHM = INPLACE, LOCK = NONE;
