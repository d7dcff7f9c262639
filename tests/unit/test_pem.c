/*
 * test_pem.c -- certificates and keys are checked when they are read, and what
 * is wrong is said with the file and the reason.
 */

#include "unit_tls.h"


static char  reason[IM_PEM_REASON_MAX];


static void
write_file(const char *name, const void *text, size_t len)
{
    FILE  *f;

    f = fopen(tls_file(name), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}


/* Made of others by a shell in the folder. */
static void
make(const char *script)
{
    char  command[600];

    snprintf(command, sizeof(command), "exec 2>/dev/null; cd %s && %s",
             tls_dir, script);
    assert_int_equal(system(command), 0);
}


/* Refused: the sentence names this file and has these words. */
static void
refused(const char *ca, const char *cert, const char *key, const char *file,
    const char *words)
{
    im_pem_t  pem;

    assert_int_equal(im_pem_load(&pem, tls_file(ca), tls_file(cert),
                                 tls_file(key), reason, sizeof(reason)),
                     IM_ERROR);
    assert_null(pem.ca);
    assert_null(pem.cert);
    assert_null(pem.key);

    if (strstr(reason, words) == NULL
        || (file != NULL && strstr(reason, file) == NULL))
    {
        fail_msg("\"%s\" has not \"%s\" and \"%s\"", reason, file, words);
    }
}


static void
what_belongs_together_is_kept_as_text(void **state)
{
    im_pem_t  pem;

    (void) state;

    load(&pem, "ca.pem", "im.pem", "im.key");
    assert_non_null(strstr(pem.ca, "BEGIN CERTIFICATE"));
    assert_non_null(strstr(pem.cert, "BEGIN CERTIFICATE"));
    assert_non_null(strstr(pem.key, "PRIVATE KEY"));
    im_pem_free(&pem);
    assert_null(pem.key);
    im_pem_free(&pem);

    /* an authority alone, several of them, words between, a chain */

    load(&pem, "ca.pem", NULL, NULL);
    assert_null(pem.cert);
    im_pem_free(&pem);

    make("(echo ours; cat ca.pem; echo theirs; cat other.pem) > two.pem");
    load(&pem, "two.pem", "im.pem", "im.key");
    im_pem_free(&pem);

    make("cat im.pem ca.pem > chain.pem");
    load(&pem, "ca.pem", "chain.pem", "im.key");
    im_pem_free(&pem);
}


static void
no_files_are_no_tls(void **state)
{
    im_pem_t  pem;

    (void) state;

    assert_int_equal(im_pem_load(&pem, "", "", NULL, reason, sizeof(reason)),
                     IM_OK);
    assert_null(pem.ca);
    im_pem_free(&pem);
}


static void
half_a_pair_is_refused(void **state)
{
    (void) state;

    refused("ca.pem", "im.pem", NULL, NULL, "come together");
    refused("ca.pem", NULL, "im.key", NULL, "come together");
    refused(NULL, "im.pem", "im.key", NULL, "needs an authority");
}


static void
a_file_that_cannot_be_read_is_named(void **state)
{
    (void) state;

    refused("gone.pem", "im.pem", "im.key", "gone.pem", "No such file");
    refused("ca.pem", "gone.pem", "im.key", "gone.pem", "No such file");
    refused("ca.pem", "im.pem", "gone.key", "gone.key", "No such file");
    refused(".", NULL, NULL, tls_dir, "Is a directory");
}


static void
what_is_not_pem_is_named(void **state)
{
    size_t  len;
    char   *big;

    static const char  nul[] = "-----BEGIN CERTIFICATE-----\0";

    (void) state;

    write_file("empty", "", 0);
    refused("empty", NULL, NULL, "empty", "is not PEM");
    write_file("nul", nul, sizeof(nul));
    refused("nul", NULL, NULL, "nul", "is not PEM");
    make("openssl x509 -in ca.pem -outform DER -out der");
    refused("der", NULL, NULL, "der", "is not PEM");

    len = IM_PEM_MAX + 1;
    big = malloc(len);
    assert_non_null(big);
    memset(big, '#', len);
    write_file("big", big, len);
    free(big);
    refused("big", NULL, NULL, "big", "larger than 256 KiB");
}


static void
a_certificate_that_does_not_parse_is_named(void **state)
{
    (void) state;

    make("sed '2s/^..../!!!!/' im.pem > bad.pem");
    refused("bad.pem", NULL, NULL, "bad.pem", "does not parse");
    refused("ca.pem", "bad.pem", "im.key", "bad.pem", "does not parse");

    make("cat ca.pem bad.pem > second.pem");
    refused("second.pem", NULL, NULL, "second.pem", "does not parse");

    make("head -n 3 im.pem > cut.pem");
    refused("cut.pem", NULL, NULL, "cut.pem", "does not parse");

    refused("im.key", NULL, NULL, "im.key", "has no certificate");
    refused("ca.pem", "im.key", "im.key", "im.key", "has no certificate");
}


static void
a_key_that_cannot_be_used_is_named(void **state)
{
    (void) state;

    refused("ca.pem", "im.pem", "other.key", "other.key",
            "is not the key of");
    refused("ca.pem", "im.pem", "ca.pem", "ca.pem", "has no private key");

    make("sed '2s/^..../!!!!/' im.key > bad.key");
    refused("ca.pem", "im.pem", "bad.key", "bad.key", "has no private key");

    make("openssl pkey -in im.key -aes128 -passout pass:secret -out aes.key");
    refused("ca.pem", "im.pem", "aes.key", "aes.key", "is encrypted");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_belongs_together_is_kept_as_text),
        cmocka_unit_test(no_files_are_no_tls),
        cmocka_unit_test(half_a_pair_is_refused),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(what_is_not_pem_is_named),
        cmocka_unit_test(a_certificate_that_does_not_parse_is_named),
        cmocka_unit_test(a_key_that_cannot_be_used_is_named),
    };

    return cmocka_run_group_tests(tests, make_certificates,
                                  remove_certificates);
}
