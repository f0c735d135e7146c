# The short way to everything; works with the make of GNU and of the BSDs.
#
#   make            release build                    make static    one file that needs no other
#   make try        a private cluster and predixy in front of it, until Ctrl-C
#   make test       all that CI runs                 make check     format, lints, manual
#   make sim        simulation: SEEDS=n              make compat    the integration tests of PROXY=path
#   make fuzz       fuzzing: SECONDS=n, FUZZ=target make bench-parts   timings of parser and router
#   make faults     the n-th system call fails       make miri      undefined behaviour, where Miri is
#   make chaos      servers and proxy suffer: MINUTES=n
#   make soak       a long time of everything: MINUTES=n
#   make memcheck   tests under valgrind
#   make tsan       tests under ThreadSanitizer
#   make bench      what a request costs, beside others: RIVALS="predixy=path nutcracker=path" ROUNDS=n
#   make bench-latency   how long it takes at fixed rates, beside the same
#   make bench-gate fails when instructions per request have grown by more than 3 %: UPDATE=1 records them
#   make test-clients   client libraries, which their package managers install
#   make test-frontends HAProxy, stunnel and keepalived, with conf/examples
#   make test-page  the status page in Chromium
#   make test-matrix    the integration tests against Redis 6.2, 7.0, 8.2 and Valkey 9.1
#   make platforms  all tests on kqueue (a stand-in) and on poll; not part of make test
#   make commands   writes doc/commands.md anew
#   make targets    type-checks the BSDs and macOS, from Linux
#   make cross      links them, and runs aarch64, armv7, riscv64 and s390x: TARGETS="..."
#   make install    below PREFIX and DESTDIR         make uninstall, make clean
#   make image, deb, dist, port, formula             packages: conf/package/README.md

CARGO ?= cargo
PREFIX ?= /usr/local
# BINDIR, MANDIR and SYSCONFDIR follow from PREFIX and the system, unless they are given; see ci/install.sh.
PLACES = PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" BINDIR="$(BINDIR)" MANDIR="$(MANDIR)" SYSCONFDIR="$(SYSCONFDIR)"
SEEDS ?= 2000
SECONDS ?= 60
MINUTES ?= 20
# What depends on readiness the most, for `make test`; `make platforms` runs all.
SOME_TESTS = blocking isolation slow_clients timeouts shutdown redirect single_key

BUILT = $${CARGO_TARGET_DIR:-target}

all:
	@sh ci/need.sh cargo cc
	$(CARGO) build --locked --release

static:
	@sh ci/need.sh cargo cc
	@CARGO="$(CARGO)" sh ci/static.sh

# What is made for others to install; each says where it is.
image: static
	@BINARY="$$(ls -t $(BUILT)/*-linux-*/release/predixy | head -1)" sh ci/image.sh

deb: static
	@BINARY="$$(ls -t $(BUILT)/*-linux-*/release/predixy | head -1)" sh ci/deb.sh

dist:
	@sh ci/need.sh cargo
	@CARGO="$(CARGO)" sh ci/dist.sh

port formula: dist
	@ARCHIVE="$$(ls -t $(BUILT)/dist/predixy-*.tar.gz | head -1)" URL="$(URL)" sh ci/recipes.sh $@

try: all
	@sh ci/need.sh redis-server redis-cli
	@exec sh ci/try.sh "$(BUILT)/release/predixy"

test:
	@sh ci/need.sh cargo cc clippy rustfmt redis-server redis-cli redis-benchmark
	@sh ci/need.sh --wanted mandoc shellcheck strace
	$(MAKE) check
	$(CARGO) test --locked --lib --bins --test tidy
	$(CARGO) test --locked --test it -- --test-threads=4
	$(MAKE) sim

# kqueue runs on a stand-in; both are tests of our code, not of another system. SOME names the integration tests.
platforms:
	for feature in kqueue poll; do \
	    $(CARGO) clippy --locked --all-targets --features $$feature -- -D warnings && \
	    $(CARGO) test --locked --features $$feature --lib sys:: && \
	    $(CARGO) test --locked --features $$feature --test it -- --test-threads=4 $(SOME) || exit 1; \
	done

# Not part of `test`: npm, pip and cargo fetch things for them, all of it into the target folder.
test-clients:
	@sh ci/need.sh cargo cc redis-server redis-cli redis-benchmark python3 npm
	@sh ci/need.sh --wanted hiredis phpredis redis-rb prometheus-redis-exporter
	$(CARGO) test --locked --test clients -- --test-threads=2

# Not part of `test`: what it needs is installed through the system's package manager.
test-frontends:
	@sh ci/need.sh cargo cc redis-server redis-cli haproxy stunnel openssl curl ip keepalived
	$(CARGO) test --locked --test frontends -- --test-threads=2 --skip page::

# The status page in Chromium.
test-page:
	@sh ci/need.sh cargo cc redis-server redis-cli chromium
	$(CARGO) test --locked --test frontends page::

test-matrix:
	@sh ci/need.sh cargo cc redis-server redis-cli redis-benchmark python3
	@CARGO="$(CARGO)" sh ci/matrix.sh $(VERSIONS)

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features sim -- -D warnings
	$(CARGO) fmt --manifest-path tests/bench/proxies/Cargo.toml --check
	$(CARGO) clippy --locked --manifest-path tests/bench/proxies/Cargo.toml --target-dir "$(BUILT)/bench" -- -D warnings
	if command -v mandoc >/dev/null; then mandoc -T lint -W warning man/*; fi
	if command -v shellcheck >/dev/null; then shellcheck ci/*.sh conf/package/debian/* conf/service/freebsd && \
	    shellcheck -s ksh conf/service/openbsd && shellcheck -s bash conf/completion/predixy.bash; fi

sim:
	SEEDS=$(SEEDS) $(CARGO) test --locked --profile sim --features sim --test sim

compat:
	PREDIXY_BIN=$(PROXY) $(CARGO) test --locked --test it -- --test-threads=4

commands:
	UPDATE=1 $(CARGO) test --locked --test it commands_doc::the_page_of_commands

# FUZZ names some of them; entropic scheduling costs more than it finds where one input takes milliseconds.
fuzz:
	@sh ci/need.sh cargo c++
	command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	for name in $${FUZZ:-$$(ls tests/fuzz/fuzz_targets | sed 's/[.]rs$$//')}; do \
	    mkdir -p "tests/fuzz/corpus/$$name" && \
	    RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run --fuzz-dir tests/fuzz "$$name" \
	        "tests/fuzz/corpus/$$name" "tests/fuzz/seeds/$$name" -- -max_total_time=$(SECONDS) \
	        -entropic=0 -print_final_stats=1 || exit 1; \
	done

faults:
	@sh ci/need.sh cargo cc redis-server strace
	FAULTS=all $(CARGO) test --locked --test it -- --nocapture faults::

chaos:
	@sh ci/need.sh cargo cc redis-server
	@sh ci/need.sh --wanted nft
	@CARGO="$(CARGO)" MINUTES=$(MINUTES) sh ci/chaos.sh

soak:
	@sh ci/need.sh cargo cc redis-server
	MINUTES=$(MINUTES) $(CARGO) test --locked --test it -- --nocapture soak::

miri:
	@CARGO="$(CARGO)" sh ci/miri.sh

tsan:
	@sh ci/need.sh cargo cc redis-server setarch
	@CARGO="$(CARGO)" sh ci/tsan.sh

memcheck:
	@sh ci/need.sh cargo cc redis-server valgrind
	@CARGO="$(CARGO)" sh ci/memcheck.sh

bench-parts:
	$(CARGO) bench --locked

# The tool is a crate of its own, so that it is built in seconds and measures any program.
BENCH = $(CARGO) run -q --release --manifest-path tests/bench/proxies/Cargo.toml --target-dir "$(BUILT)/bench" --
ROUNDS ?= 7
TAKE_PART = --ours "$(BUILT)/release/predixy" --rivals "$(RIVALS)" --rounds $(ROUNDS)

bench bench-latency: all
	@sh ci/need.sh redis-server redis-benchmark valgrind
	@if [ $@ = bench ]; then $(BENCH) table $(TAKE_PART); else $(BENCH) latency $(TAKE_PART); fi

bench-gate: all
	@sh ci/need.sh redis-server valgrind
	@$(BENCH) gate --ours "$(BUILT)/release/predixy" --recorded tests/bench/recorded $${UPDATE:+--update}

targets:
	@sh ci/need.sh cargo
	@CARGO="$(CARGO)" sh ci/targets.sh

cross:
	@sh ci/need.sh cargo cc redis-server redis-cli
	@CARGO="$(CARGO)" sh ci/cross.sh $(TARGETS)

install: all
	@BINARY="$(BUILT)/release/predixy" $(PLACES) sh ci/install.sh install

uninstall:
	@$(PLACES) sh ci/install.sh uninstall

clean:
	$(CARGO) clean

.PHONY: all static try test test-clients test-frontends test-page test-matrix platforms check sim compat commands fuzz faults chaos soak \
    miri memcheck tsan bench bench-parts bench-latency bench-gate \
    targets install uninstall clean image deb dist port formula cross
