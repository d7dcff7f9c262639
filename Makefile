# The front door.  `make help` lists the commands.
#
# Rooms (CONTRIBUTING.md): what a line of code may do follows from its folder,
# so each of these is compiled with the include paths that it is allowed to see
# and no others, and goes into an archive of its own:
#
#   src/core   libim_core.a    computes; with the messages made from proto/
#   src/rpc    libim_rpc.a     gRPC: may include core
#   src/h2     libim_h2.a      the same on an event loop: may include rpc
#   src/disc   libim_disc.a    etcd, discovery: may include rpc and core
#   src/store  libim_store.a   may block: may include core
#   services   im-logic, im-task: may include all of these
#   src/nginx  ngx_im_module.so, core, rpc and disc (tools/nginx.mk)
#
# Variants live side by side in build folders of their own:
#   make CC=clang BUILD=build/clang        make SAN=1   (build/asan)
#                                          make SAN=thread  (build/tsan)
#   make CRASH=1 BUILD=build/crash daemons (with crash points, for tests)
#   make FUZZ=1 (build/fuzz, by clang)     make COV=1   (build/coverage)
#   make H2=1   (build/h2: the module speaks gRPC by src/h2)
#
# V=1 shows whole commands.

SHELL   = /bin/sh
CC      = gcc
AR      = ar
PYTHON  = /usr/bin/python3
PKG     = pkg-config

ifdef FUZZ
BUILD  ?= build/fuzz
CC      = clang
else ifdef COV
BUILD  ?= build/coverage
else ifeq ($(SAN),thread)
BUILD  ?= build/tsan
else ifdef SAN
BUILD  ?= build/asan
else ifdef CRASH
BUILD  ?= build/crash
else ifdef H2
BUILD  ?= build/h2
else
BUILD  ?= build
endif

GEN     = $(BUILD)/gen
OBJ     = $(BUILD)/obj

# What each part needs.
PKGS_CORE     = libprotobuf-c libjwt libsodium libmurmurhash libcrypto
PKGS_RPC      = grpc
PKGS_H2       = libnghttp2 openssl
PKGS_STORE    = hiredis rdkafka mysqlclient
PKGS_SERVICE  = inih libmicrohttpd hiredis
PKGS          = $(PKGS_CORE) $(PKGS_RPC) $(PKGS_H2) $(PKGS_STORE) \
                $(PKGS_SERVICE)

pkg_cflags    = $(shell $(PKG) --cflags $(1) 2>/dev/null)
pkg_libs      = $(shell $(PKG) --libs $(1) 2>/dev/null)

# One question for all; one by one only to name what is missing.
MISSING      := $(shell $(PKG) --exists $(PKGS) 2>/dev/null \
                    || for p in $(PKGS); do $(PKG) --exists $$p 2>/dev/null \
                       || echo $$p; done; \
                    command -v protoc-c >/dev/null || echo protoc-c)

STD           = -std=gnu11 -D_GNU_SOURCE -fPIC -g
WARN          = -Wall -Wextra -Wformat -Wformat-security
WERROR        = -Werror

ifdef FUZZ
OPT           = -O1 -fno-omit-frame-pointer
SANFLAGS      = -fsanitize=address,undefined,fuzzer-no-link \
                -fno-sanitize-recover=undefined
else ifdef COV
OPT           = -O1 -fprofile-update=atomic
SANFLAGS      = --coverage
else ifeq ($(SAN),thread)
OPT           = -O1 -fno-omit-frame-pointer
SANFLAGS      = -fsanitize=thread
else ifdef SAN
OPT           = -O1 -fno-omit-frame-pointer
SANFLAGS      = -fsanitize=address,undefined -fno-sanitize-recover=undefined
else
OPT           = -O2 -fstack-protector-strong -D_FORTIFY_SOURCE=2
endif

ifdef CRASH
CRASHFLAGS    = -DIM_CRASH_POINTS
endif

CFLAGS        =
LDFLAGS       =
V             =
say           = $(if $(V),,@echo "$(1) $(2)";)
ALL_CFLAGS    = $(STD) $(OPT) $(WARN) $(SANFLAGS) $(CRASHFLAGS) $(CFLAGS)
ALL_LDFLAGS   = -pie -Wl,-z,relro -Wl,-z,now -Wl,--as-needed $(SANFLAGS) \
                $(LDFLAGS)

# Room by room: what it may see.
CFLAGS_RPC   := $(call pkg_cflags,$(PKGS_RPC))
INC_CORE     := -Isrc/core -I$(GEN) $(call pkg_cflags,$(PKGS_CORE))
INC_RPC      := -Isrc/rpc $(INC_CORE) $(CFLAGS_RPC)
INC_H2       := -DIM_RPC_H2 -Isrc/h2 -Isrc/rpc $(INC_CORE) \
                $(call pkg_cflags,$(PKGS_H2))
INC_DISC     := -Isrc/disc -Isrc/rpc $(INC_CORE)
INC_STORE    := -Isrc/store $(INC_CORE) $(call pkg_cflags,$(PKGS_STORE))
INC_BASE     := -Iservices/base $(INC_CORE)
FLAGS_SERVICE := -I$(GEN) $(call pkg_cflags,$(PKGS_CORE) $(PKGS_SERVICE))
INC_SERVICE  := -Iservices/daemon -Iservices/base -Isrc/store $(INC_DISC) \
                $(FLAGS_SERVICE)
INC_TEST     := $(INC_SERVICE) \
                $(addprefix -I,$(wildcard services/logic/* services/task/*)) \
                -Isrc/h2 -Itests/lib -Itests/fuzz \
                $(CFLAGS_RPC) $(call pkg_cflags,$(PKGS_STORE))

# A folder that folders.txt names sees itself and what it stands on, with all
# that these stand on: FOLDER:BELOW:BELOW... for each.
FOLDERS      := $(shell awk '/^[a-z]/ && sub(/:/, "", $$1) { \
    for (i = 2; i <= NF; i++) below[$$1] = below[$$1] ":" $$i below[$$i]; \
    print $$1 below[$$1] }' tools/im_lint/folders.txt)
folder_INC    = $(sort $(addprefix -I,$(subst :, ,$(filter $(1) $(1):%,\
                $(FOLDERS)))))

LIBS         := $(call pkg_libs,$(PKGS)) -lpthread

PROTOS       := $(wildcard proto/*.proto)
GEN_C        := $(PROTOS:proto/%.proto=$(GEN)/%.pb-c.c)
GEN_H        := $(GEN_C:.c=.h) $(GEN)/im_version.h \
                $(GEN)/im_schema_files.h

core_SRCS    := $(wildcard src/core/*.c)
rpc_SRCS     := $(wildcard src/rpc/*.c)
h2_SRCS      := $(wildcard src/h2/*.c)
disc_SRCS    := $(wildcard src/disc/*.c)
store_SRCS   := $(wildcard src/store/*.c)
daemon_SRCS  := $(wildcard services/base/*.c services/daemon/*.c)
logic_SRCS   := $(wildcard services/logic/*/*.c)
task_SRCS    := $(wildcard services/task/*/*.c)
bench_SRCS   := $(wildcard bench/*.c)
bench_rpc_SRCS := $(wildcard bench/rpc/*.c)
bench_store_SRCS := $(wildcard bench/store/*.c)
bench_floor_SRCS := $(wildcard bench/floor/*.c)
bench_limit_SRCS := $(wildcard bench/limit/*.c)
testlib_SRCS := $(filter-out %/unit_core.c,$(wildcard tests/lib/*.c))
unit_SRCS    := $(wildcard tests/unit/test_*.c)
fuzz_SRCS    := $(filter-out %/fuzz_main.c,$(wildcard tests/fuzz/*.c))
tool_SRCS    := $(wildcard tools/*.c)

objs          = $(patsubst %.c,$(OBJ)/%.o,$(1))

GEN_OBJS     := $(GEN_C:$(GEN)/%.c=$(OBJ)/gen/%.o)
CORE_A        = $(BUILD)/libim_core.a
RPC_A         = $(BUILD)/libim_rpc.a
H2_A          = $(BUILD)/libim_h2.a
DISC_A        = $(BUILD)/libim_disc.a
DISC_H2_A     = $(BUILD)/libim_disc_h2.a
STORE_A       = $(BUILD)/libim_store.a
DAEMON_A      = $(BUILD)/libim_daemon.a
ARCHIVES      = $(DAEMON_A) $(STORE_A) $(DISC_A) $(RPC_A) $(CORE_A)
# Discovery is compiled once for each implementation of im_rpc.h.
H2_ARCHIVES   = $(DISC_H2_A) $(H2_A)

DAEMONS      := $(if $(logic_SRCS),$(BUILD)/im-logic) \
                $(if $(task_SRCS),$(BUILD)/im-task)
TOOLS        := $(tool_SRCS:tools/%.c=$(BUILD)/%)
BENCH        := $(BUILD)/im-bench $(BUILD)/im-bench-floor \
                $(BUILD)/im-bench-rpc $(BUILD)/im-bench-store \
                $(BUILD)/im-bench-limit
UNIT         := $(unit_SRCS:%.c=$(BUILD)/%)
H2_UNIT      := $(foreach u,$(UNIT),$(if $(findstring /test_h2_,$(u)),$(u)))

.PHONY: all daemons tools tests bench-build deps run demo demo-scale checker \
        lint test fuzz coverage \
        test-unit test-nginx test-e2e test-web test-memory test-threads \
        test-asan test-tsan test-full test-stop test-faults test-trust matrix \
        bench bench-vs bench-profile bench-plots \
        bench-rpc bench-fanout bench-crowd bench-flood bench-lists \
        bench-limit bench-opens bench-schema bench-store docs stop status \
        clean help ready

all: daemons tools module $(H2_A) $(BENCH)

daemons: $(DAEMONS)

tools: $(TOOLS)

bench-build: $(BENCH)

tests: $(UNIT)

.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

ready:
	$(if $(strip $(MISSING)),@echo "missing:" $(MISSING) \
	    "-- run make deps" >&2; exit 1,@:)


# Messages: made from proto/ before anything is compiled.

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: proto/%.proto | ready
	@mkdir -p $(GEN)
	$(call say,PROTO,$<) protoc-c --c_out=$(GEN) -I proto $<

$(GEN)/im_version.h: VERSION
	@mkdir -p $(GEN)
	@echo '#define IM_VERSION  "$(shell cat VERSION)"' > $@

$(GEN)/im_schema_files.h: tools/schema.awk $(wildcard conf/schema/*.sql) \
        conf/schema
	@mkdir -p $(GEN)
	$(call say,AWK  ,conf/schema) awk -f $< $(filter %.sql,$^) > $@

$(GEN_OBJS): $(OBJ)/gen/%.o: $(GEN)/%.c | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC   ,$<) $(CC) $(STD) $(OPT) $(SANFLAGS) $(CFLAGS) \
	    -MMD -MP -I$(GEN) -c -o $@ $<


# compile: folder pattern, include paths

define compile
$$(OBJ)/$(1)/%.o: $(1)/%.c | $$(GEN_H) ready
	@mkdir -p $$(@D)
	$$(call say,CC   ,$$<) $$(CC) $$(ALL_CFLAGS) $$(WERROR) -MMD -MP $(2) \
	    -c -o $$@ $$<
endef

$(eval $(call compile,src/core,$$(INC_CORE)))
$(eval $(call compile,src/rpc,$$(INC_RPC)))
$(eval $(call compile,src/h2,$$(INC_H2)))
$(eval $(call compile,src/disc,$$(INC_DISC)))
$(eval $(call compile,src/store,$$(INC_STORE)))
$(eval $(call compile,services/base,$$(INC_BASE)))
$(eval $(call compile,services,$$(INC_SERVICE)))
$(foreach folder,$(wildcard services/logic/* services/task/*),\
    $(eval $(call compile,$(folder),\
        $$(call folder_INC,$(folder)) $$(FLAGS_SERVICE))))
$(eval $(call compile,tools,$$(INC_SERVICE)))
$(eval $(call compile,bench,$$(INC_TEST) -Ibench -Ibench/rpc \
    -Ibench/store -Ibench/floor))
$(eval $(call compile,tests,$$(INC_TEST)))

$(OBJ)/h2/src/disc/%.o: src/disc/%.c | $(GEN_H) ready
	@mkdir -p $(@D)
	$(call say,CC   ,$< for src/h2) $(CC) $(ALL_CFLAGS) $(WERROR) -MMD -MP \
	    -DIM_RPC_H2 -Isrc/h2 $(INC_DISC) -c -o $@ $<

archive       = $(call say,AR   ,$@) rm -f $@ && $(AR) rcsD $@ $^

$(CORE_A): $(GEN_OBJS) $(call objs,$(core_SRCS))
	$(archive)

$(RPC_A): $(call objs,$(rpc_SRCS))
	$(archive)

$(H2_A): $(call objs,$(h2_SRCS))
	$(archive)

$(DISC_A): $(call objs,$(disc_SRCS))
	$(archive)

$(DISC_H2_A): $(disc_SRCS:%.c=$(OBJ)/h2/%.o)
	$(archive)

$(STORE_A): $(call objs,$(store_SRCS))
	$(archive)

$(DAEMON_A): $(call objs,$(daemon_SRCS))
	$(archive)

# For tests of parts of a daemon: the object that holds main() stays unused.
$(BUILD)/liblogic.a: $(call objs,$(logic_SRCS))
	$(archive)

$(BUILD)/libtask.a: $(call objs,$(task_SRCS))
	$(archive)

link          = $(call say,LINK ,$@) $(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# What a build with SAN=thread needs besides.
TSAN_OBJS     := $(if $(filter thread,$(SAN)),$(OBJ)/tests/lib/tsan_threads.o)

$(BUILD)/im-logic: $(call objs,$(logic_SRCS)) $(TSAN_OBJS) $(ARCHIVES)
	$(link)

$(BUILD)/im-task: $(call objs,$(task_SRCS)) $(TSAN_OBJS) $(ARCHIVES)
	$(link)

$(BUILD)/im-bench: $(call objs,$(bench_SRCS)) $(ARCHIVES)
	$(link)

$(BUILD)/im-bench-rpc: $(call objs,$(bench_rpc_SRCS)) $(ARCHIVES)
	$(link)

$(BUILD)/im-bench-store: $(call objs,$(bench_store_SRCS)) \
                         $(BUILD)/liblogic.a $(ARCHIVES)
	$(link)

# Loaded into programs of others: nothing of ours is in it.
$(BUILD)/im-count-alloc.so: $(OBJ)/bench/count/count_alloc.o
	$(call say,LINK ,$@) $(CC) -shared -o $@ $^ -ldl

$(BUILD)/im-bench-limit: $(call objs,$(bench_limit_SRCS)) $(CORE_A)
	$(link)

$(BUILD)/im-bench-floor: $(call objs,$(bench_floor_SRCS))
	$(link)

$(TOOLS): $(BUILD)/%: $(OBJ)/tools/%.o $(ARCHIVES)
	$(link)

$(filter-out %/test_fuzz,$(filter-out $(H2_UNIT),$(UNIT))): $(BUILD)/%: \
        $(OBJ)/%.o $(call objs,$(testlib_SRCS)) $(BUILD)/liblogic.a \
        $(BUILD)/libtask.a $(ARCHIVES)
	@mkdir -p $(@D)
	$(link) -lcmocka

# Both archives have the names of src/disc; the first one is taken.
$(filter-out %/test_h2_core,$(H2_UNIT)): $(BUILD)/%: $(OBJ)/%.o \
        $(call objs,$(testlib_SRCS)) $(H2_ARCHIVES) $(ARCHIVES)
	@mkdir -p $(@D)
	$(link) -lcmocka

# Its other side is the C core.
$(BUILD)/tests/unit/test_h2_core: $(call objs,tests/unit/test_h2_core.c \
        tests/lib/unit_core.c $(testlib_SRCS)) $(H2_ARCHIVES) $(ARCHIVES)
	@mkdir -p $(@D)
	$(link) -lcmocka

include tools/nginx.mk

# A reader of the module is a part of it, so it is compiled as that is.
$(OBJ)/tests/fuzz/fuzz_ws.o: tests/fuzz/fuzz_ws.c $(NGX_OBJ)/Makefile | ready
	@mkdir -p $(@D)
	$(call say,CC   ,$<) $(CC) $(ALL_CFLAGS) $(WERROR) \
	    -Wno-unused-parameter -MMD -MP $(nginx_INCS) \
	    $(addprefix -I,$(wildcard src/nginx/*)) -Itests/fuzz -c -o $@ $<

$(BUILD)/tests/unit/test_fuzz: $(call objs,tests/unit/test_fuzz.c \
        $(fuzz_SRCS)) $(BUILD)/liblogic.a $(BUILD)/libtask.a $(ARCHIVES)
	@mkdir -p $(@D)
	$(link) -lcmocka

$(BUILD)/im-fuzz: $(call objs,$(fuzz_SRCS) tests/fuzz/fuzz_main.c) \
                  $(BUILD)/liblogic.a $(BUILD)/libtask.a $(ARCHIVES)
	$(link) -fsanitize=fuzzer

include tools/install.mk

-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)


# Commands.  They start make again where packages may have come with `deps`.

export IM_KAFKA

deps:
	@tools/deps

run:
	@tools/deps run
	@$(MAKE) daemons tools module
	@exec $(PYTHON) tools/stack run run

demo:
	@tools/deps run
	@$(MAKE) daemons tools module
	@exec $(PYTHON) tools/stack exec demo --restart -- tools/demo

demo-scale: deps
	@$(MAKE) all
	@exec $(PYTHON) tools/stack exec scale --restart --fresh \
	    --logic 4 --task 2 -- tools/demo-scale

# N messages, SEED=n repeats a plan, FAULTS=1 breaks things meanwhile
# (or FAULTS=kill,freeze,reload,redis,kafka,mysql,etcd).
CHECKER_FAULTS = $(if $(FAULTS),$(if $(filter 1,$(FAULTS)),\
    kill$(comma)freeze$(comma)reload$(comma)redis$(comma)kafka,$(FAULTS)))
comma         := ,

checker: deps
	@$(MAKE) all
	@exec $(PYTHON) tools/stack exec checker --restart --fresh \
	    --logic 2 --task 2 -- tools/checker --messages $(or $(N),200000) \
	    $(if $(SEED),--seed $(SEED)) \
	    $(if $(FAULTS),--faults $(strip $(CHECKER_FAULTS))) $(CHECKER_ARGS)

test: deps
	@$(MAKE) all tests
	@$(MAKE) CRASH=1 BUILD=build/crash daemons build/crash/im-schema
	@exec $(PYTHON) tests/run unit nginx e2e web faults

# Habits that a compiler does not keep; tests/self runs it, too.
lint: all
	@exec $(PYTHON) tools/lint --build $(BUILD)

# Each target of tests/fuzz for T seconds; ONLY=ws,jwt some of them.
fuzz:
	@tools/deps packages
	@tools/deps fuzz
	@$(MAKE) FUZZ=1 build/fuzz/im-fuzz
	@exec $(PYTHON) tests/fuzz/run --seconds $(or $(T),60) \
	    $(if $(ONLY),--only $(ONLY))

# PARTS: of tests/run.  e2e takes the most of the time; K='test_sync or
# test_chat' runs some of it.
coverage: deps
	@tools/deps coverage
	@$(MAKE) COV=1 all tests
	@exec $(PYTHON) tools/coverage $(or $(PARTS),unit nginx e2e) \
	    $(if $(K),-- -k '$(K)')

test-unit: deps
	@$(MAKE) all tests
	@exec $(PYTHON) tests/run unit

test-nginx: deps
	@$(MAKE) all
	@exec $(PYTHON) tests/run nginx

test-e2e: deps
	@$(MAKE) all
	@$(MAKE) CRASH=1 BUILD=build/crash daemons build/crash/im-schema
	@exec $(PYTHON) tests/run e2e

# The JavaScript client and the chat page.
test-web: deps
	@$(MAKE) all
	@exec $(PYTHON) tests/run web

test-asan: deps
	@$(MAKE) SAN=1 BUILD=build/asan all tests
	@$(MAKE) SAN= CRASH=1 BUILD=build/crash daemons build/crash/im-schema
	@exec $(PYTHON) tests/run --asan unit nginx e2e

# What .ci/run takes of the two, for its time.
test-memory: deps
	@$(MAKE) SAN=1 BUILD=build/asan daemons tools module tests
	@exec $(PYTHON) tests/run --asan unit nginx memory

test-threads: deps
	@$(MAKE) SAN=thread BUILD=build/tsan tests
	@exec $(PYTHON) tests/run --tsan unit

# Before a release.
test-full:
	@$(MAKE) test
	@$(PYTHON) tests/run e2e -- -m full
	@$(MAKE) matrix
	@$(MAKE) test-asan
	@$(MAKE) test-tsan
	@$(MAKE) test-stop
	@$(MAKE) fuzz T=10

# Needs the usual module, too: nginx itself cannot be watched for threads.
test-tsan: deps
	@$(MAKE) all
	@$(MAKE) SAN=thread BUILD=build/tsan daemons tools tests
	@exec $(PYTHON) tests/run --tsan unit scale

# N stops of each daemon, with each of the two sanitizers.
test-stop: deps
	@$(MAKE) all
	@$(MAKE) SAN=1 BUILD=build/asan daemons
	@$(MAKE) SAN=thread BUILD=build/tsan daemons
	@for san in asan tsan; do \
	    $(PYTHON) tools/stack exec stop --restart -- env \
	        IM_TEST_BUILD=build/$$san IM_STOP_TIMES=$(or $(N),200) \
	        $(PYTHON) -m pytest -q -s -p no:cacheprovider \
	        tests/e2e/test_stop.py || exit 1; \
	done

# How often tests fail that should pass: RUNS times, beside LOAD busy processes;
# FILES='tests/e2e/test_tls.py ...' instead of all of e2e.
test-trust: deps
	@$(MAKE) all
	@$(MAKE) CRASH=1 BUILD=build/crash daemons build/crash/im-schema
	@exec $(PYTHON) tests/trust --runs $(or $(RUNS),3) \
	    --load $(or $(LOAD),0) $(FILES)

# What users notice when something fails.  ONLY=kill-task,mix-1 takes some of
# the faults, SEED=n repeats what is left to chance.
test-faults: deps
	@$(MAKE) all
	@exec $(PYTHON) tools/stack exec faults --restart --fresh \
	    --logic 2 --task 2 -- tests/fault/campaign \
	    $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED)) \
	    $(FAULTS_ARGS)

# Other people's nginx: NGINX_SRCS=folder of source trees, MATRIX=full or ci.
matrix: deps
	@$(MAKE) daemons tools
	@NGINX_SRCS='$(NGINX_SRCS)' MATRIX='$(MATRIX)' \
	    exec $(PYTHON) tools/matrix

# A broker that is measured compiles all it can.
bench bench-%: export IM_JAVA_OPTIONS =

bench: deps
	@$(MAKE) all
	@exec bench/run $(BENCH_ARGS)

# BASE: a commit.  FIGURES=p50_1k_ms,cpu_ratio_1k some of them, WARM_S=60.
bench-vs: deps
	@$(MAKE) all
	@exec bench/vs --base '$(BASE)' --figures '$(FIGURES)' \
	    --warm $(or $(WARM_S),60) $(BENCH_ARGS)

bench-profile: deps
	@tools/deps profile
	@$(MAKE) all $(BUILD)/im-count-alloc.so
	@exec bench/profile --rate $(or $(RATE),10000) \
	    --warm $(or $(WARM_S),60) $(BENCH_ARGS)

# DRAW=1 draws again what was measured.
bench-plots: deps
	@tools/deps plots
	@$(if $(DRAW),,$(MAKE) all)
	@exec bench/plots/run $(if $(DRAW),--draw) \
	    $(if $(WARM_S),--warm $(WARM_S)) $(BENCH_ARGS)

bench-rpc: deps
	@$(MAKE) all
	@exec $(PYTHON) tools/stack exec bench-rpc --restart --only etcd -- \
	    bench/rpc/run

bench-limit: deps
	@$(MAKE) $(BUILD)/im-bench-limit
	@exec $(BUILD)/im-bench-limit $(N)

bench-opens: deps
	@$(MAKE) all
	@exec $(PYTHON) tools/stack exec bench-opens --restart --fresh \
	    --no-nginx -- bench/rpc/opens

bench-fanout: deps
	@tools/deps bench
	@$(MAKE) all
	@exec bench/fanout $(BENCH_ARGS)

bench-store: deps
	@$(MAKE) all
	@$(PYTHON) tools/stack exec bench-store --restart --fresh \
	    --only redis,mysql -- bench/store/run
	@exec $(PYTHON) tools/stack exec bench-sync --restart --fresh -- \
	    bench/store/catch-up

bench-crowd: deps
	@$(MAKE) all
	@exec $(PYTHON) tools/stack exec bench-crowd --restart --fresh -- \
	    bench/store/come-back $(BENCH_ARGS)

bench-schema: deps
	@$(MAKE) tools
	@exec $(PYTHON) tools/stack exec bench-schema --restart --fresh \
	    --only mysql -- bench/store/schema $(BENCH_ARGS)

bench-flood: deps
	@$(MAKE) all
	@exec $(PYTHON) tools/stack exec bench-flood --restart --fresh -- \
	    bench/store/flood $(BENCH_ARGS)

bench-lists: deps
	@$(MAKE) all
	@exec $(PYTHON) tools/stack exec bench-lists --restart --fresh -- \
	    bench/store/lists

docs:
	@tools/config-docs

stop:
	@$(PYTHON) tools/stack stop --all

status:
	@$(PYTHON) tools/stack status --all

# Kafka's jars and the packages of npm stay: they are fetched, not built.  Data
# of stacks goes.
clean: stop
	@find build -mindepth 1 -maxdepth 1 ! -name kafka \
	    ! -name npm -exec rm -rf {} + 2>/dev/null || :

help:
	@echo "make             build module, daemons and tools in $(BUILD)/"
	@echo "make run         start everything on loopback, show a message"
	@echo "                 passing through, stay until Ctrl-C; installs"
	@echo "                 what it needs, and fetches Kafka"
	@echo "make deps        install those of tests, too"
	@echo "make demo        two users talk through everything, then stop"
	@echo "make demo-scale  instances die, freeze, leave and come meanwhile"
	@echo "make checker     N=200000 messages of many people, then all"
	@echo "                 promises are checked; SEED=n, FAULTS=1"
	@echo "make test        unit, nginx (t/), end-to-end and browser"
	@echo "                 tests, some faults"
	@echo "make test-unit   test-nginx  test-e2e    one part of them"
	@echo "make test-web    the JavaScript client, and the chat page in"
	@echo "                 Chromium; pictures of it in build/web/"
	@echo "make lint        calls between folders, other habits: seconds"
	@echo "make test-asan   all of them with ASan and UBSan"
	@echo "make test-memory test-threads    what CI takes of these two"
	@echo "make test-tsan   threads: unit tests and daemons with TSan"
	@echo "make test-stop   stops of daemons under load, with both (N=200)"
	@echo "make test-faults what users notice of each fault, and its limit;"
	@echo "                 ONLY=kill-task,mix-1  SEED=n"
	@echo "make test-trust  how often tests fail that should pass;"
	@echo "                 RUNS=3 LOAD=1"
	@echo "make test-full   test, matrix, -asan, -tsan, -stop, fuzz T=10:"
	@echo "                 before a release"
	@echo "make fuzz        parsers get what libFuzzer makes of corpora;"
	@echo "                 T=60 seconds each, ONLY=ws,jwt"
	@echo "make coverage    lines that tests reach, by folder;"
	@echo "                 PARTS='unit nginx'  K='test_sync or test_chat'"
	@echo "make matrix      the module in other builds of nginx: debug,"
	@echo "                 SSL, compat, compiler, static; NGINX_SRCS="
	@echo "                 folder of source trees; MATRIX=full"
	@echo "make bench       figures to build/bench/last.json"
	@echo "make bench-vs    this tree beside another commit, and whether it"
	@echo "                 is enough: BASE=commit FIGURES=a,b WARM_S=60"
	@echo "make bench-profile  where the time of a message goes: RATE=10000"
	@echo "make bench-plots    pictures of docs/; DRAW=1 from old figures"
	@echo "make bench-fanout  rooms beside nchan: build/bench/fanout.json"
	@echo "make bench-store what a message costs in Redis and in MySQL"
	@echo "make bench-limit what a look at a limit costs (N=1000000 keys)"
	@echo "make bench-opens what a log-in costs Logic and Redis"
	@echo "make bench-rpc   what gRPC costs a message"
	@echo "make bench-crowd 3,000 clients that come back together"
	@echo "make bench-schema  what writers notice while tables are changed"
	@echo "make bench-flood 512 messages to 512 new conversations"
	@echo "make bench-lists a page of 100,000 conversations"
	@echo "make stop        stop every stack;  make status  show them"
	@echo "make docs        pages of docs/ from the tables in the code"
	@echo "make install     into DESTDIR=$(DESTDIR)/"
	@echo "make clean       stop, and remove what was built"
	@echo
	@echo "CC=clang BUILD=build/clang   another compiler, side by side"
	@echo "SAN=1                        sanitizers, in build/asan"
	@echo "H2=1                         gRPC of the module by src/h2, in"
	@echo "                             build/h2"
	@echo "CRASH=1                      crash points, in build/crash"
	@echo "NGINX_SRC=folder             build against another nginx"
	@echo "IM_KAFKA=host:port           use that Kafka, start none"
