-- Numbers of a conversation that are nobody's, for ever: from_seq to to_seq.
-- Ranges may overlap; none has a message in it.
-- min_program: 1

CREATE TABLE IF NOT EXISTS voids (
    conv_a    BIGINT UNSIGNED NOT NULL,
    conv_b    BIGINT UNSIGNED NOT NULL,
    from_seq  BIGINT UNSIGNED NOT NULL,
    to_seq    BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (conv_a, conv_b, to_seq)
) ENGINE = InnoDB;
