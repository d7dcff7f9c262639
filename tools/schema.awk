# schema.awk -- migrations in SQL to the table that im_schema.c includes.
#
#     awk -f tools/schema.awk conf/schema/*.sql
#
# So that a program and its migrations cannot be of two versions.  A statement
# ends with ';' at the end of a line; "--" begins a comment, anywhere.

function fail(text) {
    failed = 1
    printf("%s:%d: %s\n", file, line, text) > "/dev/stderr"
    exit 1
}

function finish() {
    if (file == "") {
        return
    }
    if (min_program == 0) {
        fail("a line \"-- min_program: N\" is missing")
    }
    if (open || statements == 0) {
        fail("the last statement has no end")
    }
    print "    NULL\n};\n"
    rows = rows sprintf("    { %d, %d, \"%s\", schema_%04d },\n", version,
                        min_program, name, version)
}

FNR == 1 {
    finish()
    file = FILENAME
    name = file
    sub(/^.*\//, "", name)
    if (name !~ /^[0-9][0-9][0-9][0-9]-[a-z0-9-]+\.sql$/) {
        fail("a migration is named NNNN-name.sql")
    }
    sub(/\.sql$/, "", name)
    if (substr(name, 1, 4) + 0 != version + 1) {
        fail("the number after " version " is missing")
    }
    version++
    before = min_program
    min_program = statements = open = 0
    printf("static const char *const  schema_%04d[] = {\n", version)
}

{ line = FNR }

/^-- min_program: [0-9]+$/ {
    min_program = $3 + 0
    if (min_program < before || min_program < 1 || min_program > version) {
        fail("min_program is " before " to " version)
    }
}

{
    sub(/--.*$/, "")
    sub(/[ \t]+$/, "")
    if ($0 == "") {
        next
    }
    if (/["\\]/) {
        fail("a character that C would want escaped")
    }
    open = !/;$/
    sub(/;$/, "")
    printf("    \"%s\\n\"%s\n", $0, open ? "" : ",")
    statements += !open
}

END {
    if (!failed) {
        finish()
        print "const im_schema_t  im_schema_all[] = {"
        printf("%s    { 0, 0, NULL, NULL }\n};\n", rows)
    }
}
