-- For tests: the tables as version 0.1.0 made them.

CREATE TABLE IF NOT EXISTS users (
    uid         BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    name        VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    password    VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_ms  BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (uid),
    UNIQUE KEY (name)
) ENGINE = InnoDB;

-- One for each log-in.  Only hashes of the refresh token are kept: of all of
-- it, and of the part that stays when it is changed (NULL: of an earlier
-- version, not changed since).  turned_ms: when it was changed.
CREATE TABLE IF NOT EXISTS sessions (
    sid           CHAR(22) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    uid           BIGINT UNSIGNED NOT NULL,
    device        VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    refresh_hash  BINARY(32) NOT NULL,
    family_hash   BINARY(32) NULL,
    created_ms    BIGINT UNSIGNED NOT NULL,
    turned_ms     BIGINT UNSIGNED NOT NULL DEFAULT 0,
    expires_ms    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (sid),
    UNIQUE KEY (refresh_hash),
    UNIQUE KEY (family_hash),
    KEY (uid)
) ENGINE = InnoDB;

-- A direct conversation is (lower uid, higher uid), a room is (0, room id).
-- No second index: a page of history is a range of the primary key.
CREATE TABLE IF NOT EXISTS messages (
    conv_a   BIGINT UNSIGNED NOT NULL,
    conv_b   BIGINT UNSIGNED NOT NULL,
    seq      BIGINT UNSIGNED NOT NULL,
    msg_id   BIGINT UNSIGNED NOT NULL,
    sender   BIGINT UNSIGNED NOT NULL,
    time_ms  BIGINT UNSIGNED NOT NULL,
    cmid     VARBINARY(64) NOT NULL,
    body     MEDIUMBLOB NOT NULL,
    PRIMARY KEY (conv_a, conv_b, seq)
) ENGINE = InnoDB;

-- One for each user of a conversation, written with its first message.
-- Nothing here changes when a message is sent: head, last message and unread
-- are looked up in `messages`.
CREATE TABLE IF NOT EXISTS conversations (
    uid         BIGINT UNSIGNED NOT NULL,
    conv_a      BIGINT UNSIGNED NOT NULL,
    conv_b      BIGINT UNSIGNED NOT NULL,
    read_seq    BIGINT UNSIGNED NOT NULL DEFAULT 0,
    pinned      TINYINT UNSIGNED NOT NULL DEFAULT 0,
    muted       TINYINT UNSIGNED NOT NULL DEFAULT 0,
    hidden_seq  BIGINT UNSIGNED NOT NULL DEFAULT 0,   -- hidden up to this one
    PRIMARY KEY (uid, conv_a, conv_b)
) ENGINE = InnoDB;

-- kind 1: group, members are remembered; 2: live, joined by a connection.
CREATE TABLE IF NOT EXISTS rooms (
    room          BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    kind          TINYINT UNSIGNED NOT NULL,
    name          VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
                      NOT NULL,
    open          TINYINT UNSIGNED NOT NULL,
    history       TINYINT UNSIGNED NOT NULL,
    created_ms    BIGINT UNSIGNED NOT NULL,
    dismissed_ms  BIGINT UNSIGNED NOT NULL DEFAULT 0,   -- 0: it lives
    PRIMARY KEY (room)
) ENGINE = InnoDB;

-- role 0: none (of a live room: only muted), 1: member, 2: admin, 3: owner.
CREATE TABLE IF NOT EXISTS members (
    room            BIGINT UNSIGNED NOT NULL,
    uid             BIGINT UNSIGNED NOT NULL,
    role            TINYINT UNSIGNED NOT NULL,
    muted_until_ms  BIGINT UNSIGNED NOT NULL DEFAULT 0,
    joined_ms       BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (room, uid)
) ENGINE = InnoDB;

-- Who has been removed from a room, or has left it: by the last time.  The
-- number counts the removals of the room; messages carry it.
CREATE TABLE IF NOT EXISTS removals (
    room  BIGINT UNSIGNED NOT NULL,
    uid   BIGINT UNSIGNED NOT NULL,
    no    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (room, uid),
    UNIQUE KEY (room, no)
) ENGINE = InnoDB;

-- uid takes no messages from other.
CREATE TABLE IF NOT EXISTS blocks (
    uid    BIGINT UNSIGNED NOT NULL,
    other  BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (uid, other)
) ENGINE = InnoDB;

-- Tables of earlier versions.
SET @im = (SELECT IF(COUNT(*) = 0, 'ALTER TABLE sessions
        ADD COLUMN family_hash BINARY(32) NULL,
        ADD COLUMN turned_ms BIGINT UNSIGNED NOT NULL DEFAULT 0,
        ADD UNIQUE KEY (family_hash)', 'DO 0')
    FROM information_schema.columns WHERE table_schema = DATABASE()
    AND table_name = 'sessions' AND column_name = 'family_hash');
PREPARE im FROM @im;
EXECUTE im;
DEALLOCATE PREPARE im;
