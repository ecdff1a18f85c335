# make            build (release)
# make install    put every file in its place: DESTDIR= for packages, PREFIX=/usr
# make uninstall  remove them; /etc/banjour and /var/lib/banjour stay
# make deb        a package for Debian 12 and later, in target/packages
# make rpm        a package for Fedora and its kin, in the same place
# make demo       see it work, in a guest that is gone afterwards
# make test       all tests, those in guests too
# make soak       everything that can go wrong on a mail server, in any order, under attack, for a long time:
#                 SOAK=30m; SEED=N does again what was done with that seed
# make bench      what the README says of speed, measured, beside banjour's peers; ROWS=latency,replay for some of it
# make check      formatting, lints, documentation
# make fuzz       ten million cases of each fuzz target, or CASES=; wants a nightly Rust
#
# build, deb, rpm, demo, test, soak and bench install the Debian packages and tools that they need, and say so;
# INSTALL_DEPS=no refuses that.

DESTDIR =
PREFIX = /usr
INSTALL_DEPS = yes
CASES = 10000000
# Installing makes firewalld reload once, if it doesn't know banjour's ipsets yet; "no" leaves that to you.
FIREWALLD_RELOAD = yes
# How long to soak.
SOAK = 30m
CARGO = cargo
# Where the programs to install are.
BIN = $(or $(CARGO_TARGET_DIR),target)/release

# Where zsh looks for completions that come with programs.
ZSH_COMPLETIONS = share/zsh/$(if $(wildcard /etc/debian_version),vendor-completions,site-functions)

export INSTALL_DEPS
# cargo-deb and cargo-generate-rpm may be in a place of ours, see tests/setup.
export PATH := $(PATH):$(HOME)/.cargo/bin:$(CURDIR)/target/tools/bin

manual = $(addprefix $(BIN)/manual/,banjour.1 banjourd.8 banjour.toml.5 org.banjour.Banjour1.5)
# The packages' version, where they are put, and what is packed.
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
PACKAGES = target/packages
package = target/package
binaries = $(BIN)/banjour $(BIN)/banjourd $(BIN)/banjour-netfilter
prefix = $(DESTDIR)$(PREFIX)
config = $(DESTDIR)/etc/banjour/banjour.toml
# What only root may do, when somebody else builds and tests.
sudo = $(if $(filter-out 0,$(shell id -u)),sudo)
test_as_root = $(if $(sudo),--config 'target."cfg(all())".runner="sudo --preserve-env"')

# mode, file (or a pattern), directory below PREFIX
define files
755 $(BIN)/banjour                            bin
755 $(BIN)/banjourd                           libexec/banjour
755 $(BIN)/banjour-netfilter                  libexec/banjour
644 src/filter/*.toml                         lib/banjour/filters
644 units/banjour.service                     lib/systemd/system
644 units/banjour-netfilter.service           lib/systemd/system
644 units/banjour-iptables.service            lib/systemd/system
644 units/banjour-metrics.service             lib/systemd/system
644 units/banjour-metrics.timer               lib/systemd/system
644 units/banjour.catalog                     lib/systemd/catalog
644 units/sysusers.d/banjour.conf             lib/sysusers.d
644 units/tmpfiles.d/banjour.conf             lib/tmpfiles.d
644 units/org.banjour.Banjour1.service        share/dbus-1/system-services
644 units/org.banjour.Netfilter1.service      share/dbus-1/system-services
644 units/org.banjour.Iptables1.service       share/dbus-1/system-services
644 units/monitoring/zabbix-template.yaml     share/banjour
644 units/monitoring/grafana-dashboard.json   share/banjour
644 policy/dbus/org.banjour.Banjour1.conf     share/dbus-1/system.d
644 policy/dbus/org.banjour.Netfilter1.conf   share/dbus-1/system.d
644 policy/polkit/org.banjour.Banjour1.policy share/polkit-1/actions
644 policy/polkit/50-banjour.rules            share/polkit-1/rules.d
644 policy/firewalld/ipsets/banjour-ipv4.xml  lib/firewalld/ipsets
644 policy/firewalld/ipsets/banjour-ipv6.xml  lib/firewalld/ipsets
644 policy/firewalld/policies/banjour.xml     lib/firewalld/policies
644 $(BIN)/manual/banjour.1                   share/man/man1
644 $(BIN)/manual/banjour.toml.5              share/man/man5
644 $(BIN)/manual/org.banjour.Banjour1.5      share/man/man5
644 $(BIN)/manual/banjourd.8                  share/man/man8
644 src/cli/complete/banjour                  share/bash-completion/completions
644 src/cli/complete/_banjour                 $(ZSH_COMPLETIONS)
644 src/cli/complete/banjour.fish             share/fish/vendor_completions.d
endef
export files

.PHONY: build install uninstall live deb rpm demo test soak fuzz bench check

build:
	@tests/setup build
	$(CARGO) build --release --locked --bins --example manual
	$(BIN)/examples/manual $(BIN)/manual

# Builds where nothing was built yet; never again, since root may have no Rust.
$(binaries) &:
	$(MAKE) build

# The tests build programs of their own, and not always this one.
$(manual) &: $(wildcard $(BIN)/examples/manual)
	[ -e $(BIN)/examples/manual ] || $(CARGO) build --locked $(if $(filter release,$(notdir $(BIN))),--release) \
	    --target-dir $(dir $(BIN)) --example manual
	$(BIN)/examples/manual $(BIN)/manual

install: $(binaries) $(manual)
	@set -e; echo "$$files" | while read -r mode from to; do \
	    for file in $$from; do \
	        install -D --mode=$$mode --target-directory=$(prefix)/$$to $$file; echo $(prefix)/$$to/$${file##*/}; \
	    done; \
	done
	@sed -i 's|/usr/libexec|$(PREFIX)/libexec|; s|/usr/bin/banjour|$(PREFIX)/bin/banjour|' $(prefix)/lib/systemd/system/banjour*.service
	@# The defaults, commented out, so that an update can change those that nobody has set.
	@[ -e $(config) ] || { sed 's/^[^#]/#&/' src/config/banjour.toml | install -D --mode=644 /dev/stdin $(config); echo $(config); }
	@[ -n "$(DESTDIR)" ] || $(MAKE) --no-print-directory live
	@[ -n "$(DESTDIR)" ] || if systemctl --quiet is-active banjour; \
	    then echo 'Now run: systemctl restart banjour'; else echo 'Now run: systemctl enable --now banjour'; fi

uninstall:
	@[ -n "$(DESTDIR)" ] || systemctl disable --now banjour banjour-metrics.timer || true
	@# Bans that nobody could lift any more.
	@[ -n "$(DESTDIR)" ] || $(PREFIX)/libexec/banjour/banjour-netfilter clear || true
	@set -e; echo "$$files" | while read -r mode from to; do \
	    for file in $$from; do rm -fv $(prefix)/$$to/$${file##*/}; done; \
	done
	@rmdir --ignore-fail-on-non-empty -p $(prefix)/lib/banjour/filters $(prefix)/libexec/banjour $(prefix)/share/banjour 2>/dev/null || true
	@[ -n "$(DESTDIR)" ] || $(MAKE) --no-print-directory live REMOVED=removed

# What makes files that came or went known to the running system.
live:
	systemd-sysusers
	@. units/live; FIREWALLD_RELOAD=$(FIREWALLD_RELOAD) live $(REMOVED)

# A directory with all that `make install` installs, and the scripts of a package.
package/%: $(binaries) $(manual)
	@tests/setup packages $*
	@rm -rf $(package)
	@$(MAKE) --no-print-directory --silent install DESTDIR=$(package)/files PREFIX=/usr \
	    ZSH_COMPLETIONS=$(ZSH_COMPLETIONS) >/dev/null
	@# Whoever has debugged here has programs with much to strip.
	@strip $(package)/files/usr/bin/* $(package)/files/usr/libexec/banjour/*
	@mkdir $(package)/scripts
	@for script in units/$*/*; do \
	    sed -e '/^#LIVE#$$/{' -e 'r units/live' -e 'd' -e '}' $$script >$(package)/scripts/$${script##*/}; \
	done

deb: package/deb
	@printf 'banjour (%s) unstable; urgency=medium\n\n  * As released.\n\n -- %s  %s\n' $(VERSION)-1 \
	    "$$(sed -n 's/^maintainer = "\(.*\)"/\1/p' Cargo.toml)" "$$(date --rfc-email --reference=Cargo.toml)" >$(package)/changelog
	@# Debian has that licence's text in a place of its own.
	@sed '/^ *Apache License$$/,$$d' LICENSE >$(package)/license
	@echo 'Apache License: see /usr/share/common-licenses/Apache-2.0' >>$(package)/license
	@cargo-deb --quiet --no-build --no-strip $(DEB_FLAGS) --deb-version $(VERSION)-1 --output $(PACKAGES)/
	@rm -r $(package)

rpm: ZSH_COMPLETIONS = share/zsh/site-functions
rpm: package/rpm
	@mkdir -p $(PACKAGES)
	@cargo-generate-rpm --auto-req $(CURDIR)/units/rpm-requires --set-metadata 'version = "$(VERSION)"' --output $(PACKAGES)/
	@rm -r $(package)
	@ls $(PACKAGES)/*.rpm

demo: build
	@tests/setup guests
	tests/demo

test:
	@tests/setup build
	@tests/setup readers
	@tests/setup packages deb
	@tests/setup packages rpm
	@tests/setup guests
	$(CARGO) test --locked $(test_as_root)

soak:
	@tests/setup build
	@tests/setup guests
	SOAK=$(SOAK) $(CARGO) test --release --locked $(test_as_root) --test guest -- ::soak

# The table is in target/bench.md, too, and whatever was fetched and written for it in target/bench.
bench: build
	@tests/setup bench
	ROWS='$(ROWS)' $(CARGO) bench --locked $(if $(ROWS),--bench table) \
	    $(test_as_root)

check:
	@tests/setup build
	@tests/setup check
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --locked --no-deps

fuzz:
	@tests/setup build
	@tests/setup fuzz
	@set -e; for target in evidence configuration requests; do tests/fuzz/run $$target $(CASES); done
