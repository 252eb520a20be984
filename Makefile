# Regent's build. `make run` boots a guest, `make check` runs every test; both install what is missing.
#
#	make [MODE=release|asan|tsan|cov] [CC=gcc|clang]

MODE   ?= release
B      := build$(if $(filter-out release,$(MODE)),/$(MODE))
VERSION := 0.1.0

CFLAGS_release := -O2
CFLAGS_asan    := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_tsan    := -O1 -fsanitize=thread
CFLAGS_cov     := -O0 --coverage -DREGENT_COVERAGE
CFLAGS_fuzz    := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined

# How many times longer tests may take.
SLOW_asan := CHECK_SLOW=10
SLOW_tsan := CHECK_SLOW=20
SLOW_cov  := CHECK_SLOW=4

WARN   := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
CFLAGS := -std=gnu11 -g $(CFLAGS_$(MODE)) -fno-strict-aliasing -fno-omit-frame-pointer -pthread $(WARN)
CPPFLAGS := -Iinclude -Isrc -D_GNU_SOURCE -DREGENT_VERSION='"$(VERSION)"' -MMD -MP
LDLIBS := -lseccomp -lZydis -lz -llzma -lzstd -llz4 -lbz2 -luring -lmicrohttpd -ljansson -lncurses -lm -pthread

SRC  := $(shell find src -name '*.c' | LC_ALL=C sort)
LIB  := $(filter-out src/cli/% src/helper/%,$(SRC))
OBJ  := $(SRC:%.c=$B/%.o)
TESTS := $(patsubst tests/%.c,$B/tests/%,$(shell find tests/unit tests/engine tests/leak -name '*.c' | LC_ALL=C sort))

# As many jobs as processors, unless told otherwise.
JOBS = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all run check check-kvm check-system check-leak bench bench-programs bench-switch bench-system check-host test fuzz clean packages packages-run
.DELETE_ON_ERROR:
.SECONDARY:

all: packages-run
	@$(MAKE) $(JOBS) --no-print-directory $B/regent

# Programs that do for the monitor what it shall not be able to.
HELPERS := $B/regent-net $B/regent-share $B/regent-vsock $B/regent-nbd $B/regent-boot $B/image-debian
$B/regent: | $(HELPERS)
HELPERS_C := net share vsock nbd boot
LIBS_net := -lslirp
LIBS_nbd := -lnbd
LIBS_boot := -lext2fs -lcom_err
NET_PARTS := $B/src/helper/resolver.o
$B/regent-net $B/tests/system/try/regent-net: $(NET_PARTS)
$(HELPERS_C:%=$B/regent-%): $B/regent-%: $B/src/helper/%.o $B/src/helper/confine.o
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS_$*) -lseccomp
# The same, that try what they must not once they are confined (tests/system/run-confine).
$(HELPERS_C:%=$B/tests/system/try/regent-%): $B/tests/system/try/regent-%: $B/src/helper/%.o $B/src/helper/confine.o $B/tests/system/try.o
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Wl,--wrap=confine -o $@ $^ $(LIBS_$*) -lseccomp
$B/image-debian: guest/image-debian
	install -m 755 $< $@

$B/regent: $(filter $B/src/cli/%,$(OBJ)) $B/libregent.a
	$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

$B/libregent.a: $(LIB:%.c=$B/%.o)
	rm -f $@ && $(AR) qcs $@ $^

NO_HOOKS := -fno-sanitize-coverage=trace-cmp,indirect-calls,stack-depth

# The guest's vector registers stay in the host's while these run.
LIGHT := -mgeneral-regs-only $(if $(findstring clang,$(CC)),,-fno-tree-loop-distribute-patterns)
# The sanitizers' libraries use them, though, and so do libFuzzer's hooks (its counters do not).
LIGHT += $(if $(filter asan tsan fuzz,$(MODE)),-DBT_LIGHT_C=0) $(if $(filter fuzz,$(MODE)),$(NO_HOOKS))
# Where forms are copied those are put away already.
$B/src/engine/bt/forms.o: LIGHT :=
$B/src/engine/bt/%.o: CFLAGS += $(LIGHT)
$B/src/cpu/%.o: CFLAGS += $(LIGHT)
$B/src/mem/%.o: CFLAGS += $(LIGHT)

$B/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

$B/tests/%: tests/%.c $B/libregent.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) -Itests $(CFLAGS) -o $@ $< $B/libregent.a $(LDLIBS)

packages:
	@tools/packages

packages-run:
	@tools/packages run

run: packages-run
	@$(MAKE) $(JOBS) --no-print-directory $B/regent
	@tools/run

check: packages
	@$(MAKE) $(JOBS) --no-print-directory test

bench: packages
	@$(MAKE) $(JOBS) --no-print-directory $B/regent
	@tools/bench $(BENCH)

bench-programs: packages
	@$(MAKE) $(JOBS) --no-print-directory $B/regent
	@tools/bench --programs $(BENCH)

bench-switch: packages
	@$(MAKE) $(JOBS) --no-print-directory $B/tests/bench/switch $B/tests/bench/handoff.elf $B/tests/bench/handoff-ipi.elf
	@$B/tests/bench/switch $B/tests/bench/handoff.elf $B/tests/bench/handoff-ipi.elf

$B/tests/bench/handoff-ipi.elf: NASM_FLAGS := -DIPI
$B/tests/bench/handoff%elf: tests/bench/handoff.asm tests/guest/lib.inc tests/guest/low.inc
	@mkdir -p $(@D)
	nasm $(NASM_FLAGS) -w-unknown-warning -Itests/guest/ -f bin -o $@ $<

# Boot, disk and network of a Debian against QEMU's: make bench-system [ROUNDS=n], some minutes; the first time as root.
bench-system: packages
	@$(MAKE) $(JOBS) --no-print-directory $B/regent
	@tests/system/compare $(or $(ROUNDS),3)

# The long form of tests/host: 64 Debian guests, 500 tiny ones, shares over ten seconds.
check-host: packages
	@$(MAKE) $(JOBS) --no-print-directory $B/regent
	@HOST_SECONDS=10 B=$B tests/host/run-host && B=$B HOST_MANY=1 tests/host/run-many

# make fuzz [SECONDS=n] [TARGETS="decode engines"]
fuzz: packages
	@tests/fuzz/run-fuzz $(or $(SECONDS),60) $(TARGETS)

# A whole Debian: needs root, a network, debootstrap, some minutes.
check-system: packages
	@$(MAKE) $(JOBS) --no-print-directory $B/regent
	@SYSTEM_CHECK=1 tests/system/run-debian

check-kvm: packages
	@$(MAKE) $(JOBS) --no-print-directory $B/regent $(patsubst %,$B/tests/engine/%,contract contract_io contract_cpu kvm)
	@tests/kvm/run-kvm && VMX_CHECK=1 tests/kvm/run-vmx

# Isolation at length: every MSR number, millions of wild mappings and instructions. Hours.
check-leak: packages
	@$(MAKE) $(JOBS) --no-print-directory $B/regent $B/tests/leak/leak
	@LEAK=full tests/leak/run-leak

test: $B/regent $(TESTS) $(HELPERS_C:%=$B/tests/system/try/regent-%)
	@B=$B $(SLOW_$(MODE)) tools/check $(filter-out $B/tests/leak/%,$(TESTS))

clean:
	rm -rf build

-include $(shell find $B/src $B/tests -name '*.d' 2>/dev/null)
