# make install: module, daemons, configuration.  A file in /etc that is there
# already is kept; ours is put beside it as *.dist when it differs.

DESTDIR     ?=
PREFIX      ?= /usr
MODULEDIR   ?= $(PREFIX)/lib/nginx/modules
NGXSHARE    ?= $(PREFIX)/share/nginx/modules-available
NGXENABLED  ?= /etc/nginx/modules-enabled
SBINDIR     ?= $(PREFIX)/sbin
CONFDIR     ?= /etc/im
CHATDIR     ?= $(PREFIX)/share/im
DOCDIR      ?= $(PREFIX)/share/doc/im

.PHONY: install

install: all
	install -d $(DESTDIR)$(MODULEDIR) $(DESTDIR)$(NGXSHARE) \
	    $(DESTDIR)$(NGXENABLED) $(DESTDIR)$(SBINDIR) \
	    $(DESTDIR)$(CONFDIR) $(DESTDIR)$(DOCDIR) \
	    $(DESTDIR)$(CHATDIR)/web $(DESTDIR)$(CHATDIR)/client
	install -m 644 $(MODULE) $(DESTDIR)$(MODULEDIR)/ngx_im_module.so.new
	mv -f $(DESTDIR)$(MODULEDIR)/ngx_im_module.so.new \
	    $(DESTDIR)$(MODULEDIR)/ngx_im_module.so
	echo 'load_module modules/ngx_im_module.so;' \
	    > $(DESTDIR)$(NGXSHARE)/mod-im.conf
	chmod 644 $(DESTDIR)$(NGXSHARE)/mod-im.conf
	ln -sf $(NGXSHARE)/mod-im.conf $(DESTDIR)$(NGXENABLED)/50-mod-im.conf
	install -m 755 $(DAEMONS) $(TOOLS) $(DESTDIR)$(SBINDIR)
	@for f in im_api.conf logic.conf task.conf; do \
	    to=$(DESTDIR)$(CONFDIR)/$$f; \
	    if [ -f $$to ] && ! cmp -s conf/$$f $$to; then to=$$to.dist; fi; \
	    echo install -m 644 conf/$$f $$to; \
	    install -m 644 conf/$$f $$to || exit 1; \
	done
	install -m 644 conf/nginx.conf LICENSE $(DESTDIR)$(DOCDIR)
	install -m 644 web/* $(DESTDIR)$(CHATDIR)/web
	install -m 644 clients/js/src/* $(DESTDIR)$(CHATDIR)/client
