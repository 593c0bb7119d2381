# mm: six single-header C libraries, and mmserve, the HTTPS server that shows them at work.
# `make help` lists the targets. All that is built lies in $(BUILD); the headers need no building.
#
# To override:  CC CFLAGS CPPFLAGS LDFLAGS  as everywhere
#               PREFIX DESTDIR              where `make install` puts things, and below which folder
#               SETUP=no                    install nothing, only say what is missing
#               V=1                         show the commands
# A variant is the same rules in another place: make BUILD=build/asan SANITIZE=address,undefined

CFLAGS ?= -O2 -g
PYTHON ?= python3
PREFIX = /usr/local
BUILD = build
DIR = demo/www
PORT = 8443
T =
FUZZ_SECONDS = 30

export BUILD CC SETUP
export PYTHONDONTWRITEBYTECODE = 1
Q := $(if $(V),,@)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wundef -Wcast-qual \
    -Wmissing-prototypes -Wformat=2 -Wvla -Wimplicit-fallthrough $(WERROR)
SANITIZER := $(if $(SANITIZE),-O1 -fsanitize=$(SANITIZE) -fno-sanitize-recover=all \
    -fno-omit-frame-pointer)
COMPILE = $(CC) -std=c11 -pthread $(WARNINGS) $(CPPFLAGS) $(CFLAGS) $(SANITIZER) -MMD -MP
COMPILE_CXX = $(CXX) -std=c++17 -pthread $(filter-out -Wmissing-prototypes,$(WARNINGS)) \
    $(CPPFLAGS) $(CFLAGS) -MMD -MP
LINK = $(CC) -pthread $(CFLAGS) $(SANITIZER) -Wl,--as-needed $(LDFLAGS)

# Asked when a recipe runs, not when this file is read: pkg-config may have yet to be installed.
SSL_CFLAGS = $$(pkg-config --cflags openssl)
SSL_LIBS = $$(pkg-config --libs openssl)
TEST_LIBS = -Wl,--as-needed $(LDFLAGS) $(SSL_LIBS)

# What the server is hardened with, as far as the compiler knows it. Sanitizers bring their own.
ifndef SANITIZE
harden.compile := -fPIE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong \
    -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero \
    -fno-delete-null-pointer-checks -fno-strict-overflow
harden.link := -fPIE -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code
endif

heap_modes := $(BUILD)/libmm_heap_debug.so $(BUILD)/libmm_heap_secure.so
objects := $(patsubst %.c,$(BUILD)/%.o,$(wildcard demo/*.c)) $(BUILD)/demo/dashboard.o
benches := $(patsubst %.c,$(BUILD)/%,$(filter-out %/mm.c,$(wildcard tests/bench/*$(T)*.c)))
preloads := $(addprefix $(BUILD)/,$(basename $(wildcard tests/preload/*.c tests/preload/*.cc)))
tests := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/unit/*.c tests/server/*.c tests/fuzz/*.c))
targets := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*$(T)*.c))

all: $(BUILD)/mmserve ## build the server, build/mmserve (the default)

run: all ## serve demo/www on https://localhost:8443 (make run DIR=folder PORT=number)
	@exec $(BUILD)/mmserve --port $(PORT) $(DIR)

heap: $(BUILD)/libmm_heap.so ## build build/libmm_heap.so, the heap to LD_PRELOAD under any program

heap-modes: $(heap_modes) ## the same with what is for debugging and security: libmm_heap_debug.so

test: ## run every test; make test T=unit/buffer runs the ones with that in their name
	@tests/setup.sh test
	@$(PYTHON) tests/run.py $(T)

check-all: ## sanitizers, Valgrind, a browser: installs large packages, takes a while
	@tests/setup.sh full
	@$(PYTHON) tests/run.py --all $(T)

bench: $(benches) ## measure us beside others, in minutes; make bench T=arena: only that one
	@: $(or $^,$(error no benchmark is called $(T)))
	@for bench in $^; do $$bench || exit; done

fuzz: $(targets:%=$(BUILD)/fuzz/%) ## search for inputs that crash a parser; T=text FUZZ_SECONDS=600
	@: $(or $^,$(error no fuzz target is called $(T)))
	@for target in $(targets:%=$(BUILD)/fuzz/%); do \
	    mkdir -p $$target.found && echo "$$target: $(FUZZ_SECONDS) s" && \
	    $$target -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -artifact_prefix=$$target. $$target.found \
	        tests/fuzz/corpus/$${target##*/} >$$target.log 2>&1 || { cat $$target.log; exit 1; }; \
	done; echo "$(words $(targets)) passed, 0 failed"

bench-programs: heap | setup-bench ## real programs on our heap and others; T=redis: only that
	@MMHEAP=$(abspath $(BUILD))/libmm_heap.so $(PYTHON) tests/bench/programs.py $(T)

test-programs: $(tests) ## build the test programs without running them

preload-programs: $(preloads) heap heap-modes ## build the programs that test the heap in the place of malloc

# Each file, and where it goes below PREFIX.
installed = $(foreach part,$(parts),mm_$(part).h:include/mm_$(part).h) \
    $(BUILD)/libmm_heap.so:lib/libmm_heap.so $(BUILD)/libmm_heap_debug.so:lib/libmm_heap_debug.so \
    $(BUILD)/libmm_heap_secure.so:lib/libmm_heap_secure.so \
    $(BUILD)/mm.pc:share/pkgconfig/mm.pc \
    packaging/mm-config.cmake:share/cmake/mm/mm-config.cmake \
    $(BUILD)/mm-config-version.cmake:share/cmake/mm/mm-config-version.cmake \
    $(BUILD)/mmserve:bin/mmserve $(BUILD)/mmserve.1:share/man/man1/mmserve.1 \
    packaging/mmserve.bash:share/bash-completion/completions/mmserve \
    packaging/mmserve.zsh:share/zsh/site-functions/_mmserve \
    packaging/mmserve.fish:share/fish/vendor_completions.d/mmserve.fish \
    demo/mmserve.service:share/doc/mm/mmserve.service $(foreach text,README.md CHANGELOG.md LICENSE, \
        $(text):share/doc/mm/$(text))

install: all heap heap-modes ## install headers, heap and server below PREFIX, which is /usr/local
install: $(BUILD)/mm.pc $(BUILD)/mm-config-version.cmake $(BUILD)/mmserve.1
	@for pair in $(installed); do \
	    case $$pair in *:bin/*) mode=755;; *) mode=644;; esac; \
	    install -D -m $$mode $${pair%:*} "$(DESTDIR)$(PREFIX)/$${pair#*:}" || exit; \
	done

uninstall: ## remove what `make install` put there
	@for pair in $(installed); do rm -f "$(DESTDIR)$(PREFIX)/$${pair#*:}"; done
	@rmdir "$(DESTDIR)$(PREFIX)/share/cmake/mm" "$(DESTDIR)$(PREFIX)/share/doc/mm" 2>/dev/null || :

# For editors and clang-tidy: what the compiler is told for each file of the server.
compile-commands: $(BUILD)/harden.compile ## write build/compile_commands.json, for editors
	@for source in demo/*.c; do \
	    printf '{"directory": "%s", "file": "%s", "command": "%s"},\n' "$(CURDIR)" $$source \
	        "$(filter-out -MMD -MP,$(COMPILE)) $$(cat $(BUILD)/harden.compile) -DMM_IO_OPENSSL $(SSL_CFLAGS) -c $$source"; \
	done | sed '1s/^/[/; $$s/,$$/]/' >$(BUILD)/compile_commands.json

mm.h: $(BUILD)/mm.h ## join the six headers into one, build/mm.h

clean: ## remove what was built
	rm -rf $(BUILD)

help: ## list the targets
	@sed -n 's/^\([a-z.-]*\):.*## \(.*\)/  make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

version = $$(sed -n '1s/.* - v\([0-9.]*\) - .*/\1/p' mm_buffer.h)
parts := buffer arena pool heap chunk io

$(BUILD)/mm.h: packaging/join.sh $(parts:%=mm_%.h)
	@mkdir -p $(@D) && packaging/join.sh >$@

$(BUILD)/%: packaging/%.in mm_buffer.h always
	@mkdir -p $(@D) && sed "s|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(version)|" $< >$@

# Of the day of the release, or of today before there is one.
$(BUILD)/mmserve.1: packaging/man.awk $(BUILD)/mmserve
	@date=$$(sed -n 's/^## \[[0-9.]*\] - //p' CHANGELOG.md | head -n 1); \
	$(BUILD)/mmserve --help | \
	    awk -v version="$(version)" -v date="$${date:-$$(date +%F)}" -f packaging/man.awk >$@

$(BUILD)/mmserve: $(objects) $(BUILD)/harden.link
	@echo "  LINK $@"
	$(Q)$(LINK) @$(BUILD)/harden.link -o $@ $(objects) $(SSL_LIBS)

# The header is the source. Variables of a thread lie at a fixed place, nothing but malloc's names
# can be seen, and the functions that C++ lets a program replace one by one can be replaced so.
HEAP_FLAGS = -DMM_HEAP_IMPLEMENTATION -DMM_HEAP_OVERRIDE -DMM_HEAP_PRELOAD -DNDEBUG -fPIC \
    -ftls-model=initial-exec -fvisibility=hidden -fsemantic-interposition -fno-builtin -fno-plt \
    -fexceptions -shared -Wl,-soname,$(@F) -Wl,-z,now,-z,nodelete
$(BUILD)/libmm_heap_debug.so: HEAP_MODE := -DMM_HEAP_DEBUG
$(BUILD)/libmm_heap_secure.so: HEAP_MODE := -DMM_HEAP_SECURE

$(BUILD)/libmm_heap.so $(heap_modes): mm_heap.h $(BUILD)/flags
	@echo "  CC   $@"
	$(Q)$(COMPILE) -MF $@.d $(HEAP_FLAGS) $(HEAP_MODE) -MT $@ -o $@ -x c $<

$(BUILD)/demo/%.o: demo/%.c $(BUILD)/harden.compile
	@echo "  CC   $<"; mkdir -p $(@D)
	$(Q)$(COMPILE) @$(BUILD)/harden.compile -DMM_IO_OPENSSL $(SSL_CFLAGS) -c -o $@ $<

# The dashboard's files as arrays of bytes: to be served from the program, with no file beside it.
$(BUILD)/demo/dashboard.c: demo/dashboard.html demo/dashboard.css demo/dashboard.js
	@mkdir -p $(@D)
	$(Q){ echo '#include "admin.h"'; for type in html css js; do \
	    echo "const unsigned char dashboard_$$type[] = {" && \
	    od -An -v -tx1 demo/dashboard.$$type | sed 's/  *\([0-9a-f][0-9a-f]\)/0x\1,/g' && \
	    echo "};" && echo "const size_t dashboard_$${type}_size = sizeof(dashboard_$$type);" || \
	    exit; done; } >$@

$(BUILD)/demo/dashboard.o: $(BUILD)/demo/dashboard.c $(BUILD)/harden.compile
	$(Q)$(COMPILE) @$(BUILD)/harden.compile -Idemo -DMM_IO_OPENSSL $(SSL_CFLAGS) -c -o $@ $<

$(BUILD)/tests/unit/%: tests/unit/%.c $(BUILD)/flags
	@echo "  CC   $<"; mkdir -p $(@D)
	$(Q)$(COMPILE) -MF $@.d -MT $@ $(SSL_CFLAGS) -o $@ $< $(TEST_LIBS)

$(BUILD)/tests/fuzz/%: tests/fuzz/%.c $(BUILD)/flags
	@echo "  CC   $<"; mkdir -p $(@D)
	$(Q)$(COMPILE) -MF $@.d -MT $@ -o $@ $< $(LDFLAGS)

# libFuzzer is clang's, whatever compiles the rest.
$(BUILD)/fuzz/%: tests/fuzz/%.c $(BUILD)/flags | setup-full
	@echo "  FUZZ $<"; mkdir -p $(@D)
	$(Q)clang -std=c11 $(WARNINGS) $(CPPFLAGS) -O1 -g -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=all -DFUZZ_ENGINE -MMD -MP -MF $@.d -MT $@ -o $@ $< $(LDFLAGS)

# Compilers that know malloc and new would leave some calls out.
PRELOAD_FLAGS = -fno-builtin
$(BUILD)/tests/preload/%: tests/preload/%.c $(BUILD)/flags
	@echo "  CC   $<"; mkdir -p $(@D)
	$(Q)$(COMPILE) -MF $@.d -MT $@ $(PRELOAD_FLAGS) -o $@ $<

$(BUILD)/tests/preload/%: tests/preload/%.cc $(BUILD)/flags
	@echo "  CXX  $<"; mkdir -p $(@D)
	$(Q)$(COMPILE_CXX) -MF $@.d -MT $@ $(PRELOAD_FLAGS) -fsized-deallocation -o $@ $<

# These have the server's parts inside, but for main() and the one implementation: they bring both.
$(BUILD)/tests/server/%: tests/server/%.c $(filter-out %/main.o %/mm.o,$(objects)) $(BUILD)/flags
	@echo "  CC   $<"; mkdir -p $(@D)
	$(Q)$(COMPILE) -MF $@.d -MT $@ -DMM_IO_OPENSSL $(SSL_CFLAGS) -o $@ $< $(filter %.o,$^) $(TEST_LIBS)

# Loops of a nanosecond run up to 1.5 times as long at an unlucky address: let all have a good one.
BENCH_ALIGN := -falign-functions=64 -falign-loops=64
# The others' flags are asked for late, as those of OpenSSL above.
BENCH_CFLAGS = $$(pkg-config --cflags libevent_core apr-1 openssl) -DMM_IO_OPENSSL $(BENCH_ALIGN) \
    -DBENCH_FLAGS='"$(strip $(CFLAGS) $(BENCH_ALIGN))"' \
    -DBENCH_SECURE='"$(abspath $(BUILD))/libmm_heap_secure.so"'
BENCH_LIBS = -Wl,--as-needed $$(pkg-config --libs libevent_core apr-1 openssl) -lm -ldl

$(BUILD)/tests/bench/%.o: tests/bench/%.c $(BUILD)/flags | setup-bench
	@echo "  CC   $<"; mkdir -p $(@D)
	$(Q)$(COMPILE) $(BENCH_CFLAGS) -c -o $@ $<

$(BUILD)/tests/bench/heap: | $(BUILD)/libmm_heap_secure.so

$(BUILD)/tests/bench/%: $(BUILD)/tests/bench/%.o $(BUILD)/tests/bench/mm.o
	$(Q)$(LINK) -o $@ $^ $(BENCH_LIBS)

# The hardening flags that this compiler takes, one after the other, for gcc and clang to read (@file).
$(BUILD)/harden.%: $(BUILD)/flags
	@printf '#include <stdlib.h>\nint main(void) { return 0; }\n' >$@.c; taken=; \
	for flag in $(harden.$*); do \
	    $(CC) $(CFLAGS) -Werror $$taken $$flag -o $@.out $@.c 2>/dev/null && taken="$$taken $$flag"; \
	done; rm -f $@.c $@.out; echo $$taken >$@

# Changes when the compiler or its flags do, and then everything is built anew.
$(BUILD)/flags: always | setup
	@mkdir -p $(@D); echo '$(COMPILE) $(LINK)' | cmp -s - $@ || echo '$(COMPILE) $(LINK)' >$@

setup:
	@tests/setup.sh build

setup-bench: | setup
	@tests/setup.sh bench

setup-full: | setup
	@tests/setup.sh full

.PHONY: all run heap heap-modes test check-all bench bench-programs fuzz test-programs preload-programs clean \
    install uninstall compile-commands mm.h help setup setup-bench setup-full always
.DELETE_ON_ERROR:
.SECONDARY:
-include $(objects:.o=.d) $(tests:=.d) $(preloads:=.d) $(targets:%=$(BUILD)/fuzz/%.d) \
    $(benches:=.d) $(BUILD)/tests/bench/mm.d $(BUILD)/libmm_heap.so.d $(heap_modes:=.d)
