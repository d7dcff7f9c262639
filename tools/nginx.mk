# ngx_im_module.so: built by nginx's own configure, out of its tree, against
#   - Debian's nginx (headers and configure from the package nginx-dev), or
#   - an nginx source tree: make NGINX_SRC=/path/to/nginx
# A module fits exactly one version of nginx.

NGINX_SRC    ?= /usr/share/nginx/src
NGX_OBJ       = $(abspath $(BUILD))/nginx
MODULE        = $(BUILD)/ngx_im_module.so

module_SRCS  := $(wildcard src/nginx/*/*.c)
module_HDRS  := $(wildcard src/nginx/*/*.h src/core/*.h src/rpc/*.h \
                           src/h2/*.h src/disc/*.h)
module_LIBS   = $(if $(H2),$(DISC_H2_A) $(H2_A),$(DISC_A)) $(RPC_A) $(CORE_A)

ngx_cc_opt    = $(OPT) -g -fPIC -Wformat -Wformat-security
ngx_ld_opt    = -fPIC -Wl,-z,relro -Wl,-z,now

# An upstream tree has no conf_flags: the flags that change what a module sees.
NGINX_FLAGS  ?= --with-compat --with-threads --with-http_ssl_module \
                --with-http_v2_module --with-http_realip_module \
                --with-http_auth_request_module --with-http_stub_status_module

# nginx has one include path for all files, so each folder is also read with its
# own, once the module is built: an include of what stands above fails.

# The rest is what configure has found, maybe an OpenSSL of nginx's own: all
# paths of its Makefile but those into our folders.
nginx_INCS    = $(INC_CORE) $(CFLAGS_RPC) $(shell awk \
    -v src='$(NGINX_SRC)' -v ours='-I$(CURDIR)/src/' ' \
    /^(CFLAGS|ALL_INCS)[ \t]*=/ { on = 1 } \
    on { gsub(/-I[ \t]+/, "-I"); \
         for (i = 1; i <= NF; i++) \
             if ($$i ~ /^-I/ && index($$i, ours) != 1) { \
                 path = substr($$i, 3); \
                 print "-I" (path ~ /^\// ? path : src "/" path) } } \
    !/\\$$/ { on = 0 }' $(NGX_OBJ)/Makefile)

nginx_LINTS  := $(patsubst src/nginx/%,$(NGX_OBJ)/includes/%,\
                $(wildcard src/nginx/*))

.PHONY: module FORCE

module: $(if $(module_SRCS),$(MODULE) $(nginx_LINTS))

# What the configuration depends on beside the file `config`.
$(BUILD)/nginx.list: FORCE | ready
	@mkdir -p $(@D)
	@printf '%s\n' '$(NGINX_SRC)' '$(CC) $(ngx_cc_opt) $(SANFLAGS)' \
	    'H2=$(H2)' \
	    '$(NGINX_FLAGS)' $(sort $(module_SRCS)) > $@.new
	@sed -n 's/^#define NGINX_VER.*"\(.*\)".*/\1/p' \
	    $(NGINX_SRC)/src/core/nginx.h >> $@.new \
	    || { echo "missing: nginx-dev -- run make deps" >&2; exit 1; }
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(NGX_OBJ)/Makefile: config ngx_im.map $(BUILD)/nginx.list \
                     | $(module_LIBS)
	@echo "NGINX configure in $(NGINX_SRC)"
	@rm -rf $(NGX_OBJ)
	@mkdir -p $(NGX_OBJ)
	@IM_BUILD='$(abspath $(BUILD))' IM_CFLAGS='$(SANFLAGS)' \
	 IM_LIBS='$(SANFLAGS)' IM_H2='$(H2)' NGINX_FLAGS='$(NGINX_FLAGS)' \
	 bash -c 'set -e; cd "$(NGINX_SRC)"; \
	    if [ -f conf_flags ]; then . ./conf_flags; \
	    else NGX_CONF_FLAGS=($$NGINX_FLAGS); fi; \
	    if [ -x configure ]; then c=./configure; \
	    else c=auto/configure; fi; \
	    $$c --with-cc="$(CC)" --with-cc-opt="$(ngx_cc_opt)" \
	        --with-ld-opt="$(ngx_ld_opt)" "$${NGX_CONF_FLAGS[@]}" \
	        --add-dynamic-module="$(CURDIR)" --builddir="$(NGX_OBJ)"' \
	    > $(BUILD)/nginx.configure.log 2>&1 \
	    || { tail -5 $(BUILD)/nginx.configure.log >&2; \
	         rm -f $@; exit 1; }
	@grep warning $(BUILD)/nginx.configure.log || :

# Removed first: nginx's Makefile does not know that it needs our archives.
$(MODULE): $(NGX_OBJ)/Makefile $(module_SRCS) $(module_HDRS) $(GEN_H) \
           $(module_LIBS)
	@rm -f $(NGX_OBJ)/ngx_im_module.so
	+$(call say,NGINX,$@) $(MAKE) -f $(NGX_OBJ)/Makefile -C $(NGINX_SRC) \
	    modules $(if $(V),,> $(BUILD)/nginx.make.log 2>&1) \
	    || { $(if $(V),,grep -vE '^(gcc|clang|cc|	)' \
	         $(BUILD)/nginx.make.log >&2;) exit 1; }
	@install -m 644 $(NGX_OBJ)/ngx_im_module.so $@.new
	@mv $@.new $@

# After the module: an OpenSSL that nginx builds has its headers only then.
$(nginx_LINTS): $(NGX_OBJ)/includes/%: $(MODULE) tools/im_lint/folders.txt
	@mkdir -p $(@D)
	$(call say,LINT ,src/nginx/$*) $(CC) -D_GNU_SOURCE -M -MF $@ \
	    $(if $(H2),-DIM_RPC_H2) \
	    $(call folder_INC,src/nginx/$*) \
	    $(nginx_INCS) \
	    $(wildcard src/nginx/$*/*.c)

FORCE:
