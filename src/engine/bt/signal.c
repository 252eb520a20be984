/* SPDX-License-Identifier: Apache-2.0 */
/* engine/bt/signal.c - host faults in translated code: the instruction is interpreted instead.
 *
 * Division errors, unmasked FPU exceptions, unaligned SSE operands, reserved MXCSR bits: whatever
 * the host's CPU refuses, the interpreter refuses in the guest's terms. The handler only edits the
 * interrupted context so that it leaves translated code at that instruction.
 */
#include "engine/bt/bt.h"
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

__thread struct bt_state *bt_running;
static const int signals[] = { SIGSEGV, SIGFPE, SIGBUS, SIGILL };
enum { SIGNALS = sizeof(signals) / sizeof(*signals) };
static struct sigaction before[SIGNALS];

static bool
redirect(struct bt_state *bt, ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;
	const uint8_t *pc = (const uint8_t *)(uintptr_t)g[REG_RIP];
	uint64_t rip, fl = (uint64_t)g[REG_EFL];
	bool saved;

	if (!bt_side_find(bt, pc, &rip, &saved))
		return false;
	if (!saved)
		bt->flags_saved = (uint16_t)((fl & 0xd5) << 8 | (fl >> rflags_of_SHIFT & 1));
	bt->c->r.rip = rip;
	bt->stats.host_faults++;
	g[REG_R10] = LEFT_fault;	/* S0 */
	g[REG_RIP] = (greg_t)(uintptr_t)bt->gate_exit_saved;
	return true;
}

/* A page fault, unlike a general protection fault, means that translated code was about to touch what is not the
 * guest's. That is a flaw, of which the next one may hit memory that is there: end here. */
static void
end_if_stray(int sig, const siginfo_t *info)
{
	enum { EXIT_FLAW = 4 };		/* the monitor failed */
	static const char line[] = "regent: translated code touched memory that is not the guest's: a flaw of bt; "
		"use --engine interp, and please report it\n";

	if (sig != SIGSEGV || (info->si_code != SEGV_MAPERR && info->si_code != SEGV_ACCERR))
		return;
	(void)!write(STDERR_FILENO, line, sizeof(line) - 1);
	_exit(EXIT_FLAW);
}

static bool
in_translated_code(const ucontext_t *uc)
{
	const uint8_t *pc = (const uint8_t *)(uintptr_t)uc->uc_mcontext.gregs[REG_RIP];

	return bt_running != NULL && pc >= bt_running->code.rx && pc < bt_running->code.rx + bt_running->code.size;
}

static bool
make_room(struct bt_state *bt, const siginfo_t *info, ucontext_t *uc)
{
	uint64_t rsp = (uint64_t)uc->uc_mcontext.gregs[REG_RSP];

	if (!bt_returns_fault(bt, (uint64_t)(uintptr_t)info->si_addr, &rsp))
		return false;
	uc->uc_mcontext.gregs[REG_RSP] = (greg_t)rsp;
	return true;
}

static void
handler(int sig, siginfo_t *info, void *context)
{
	unsigned i;

	if (in_translated_code(context)) {
		if (sig == SIGSEGV && info->si_code == SEGV_ACCERR && make_room(bt_running, info, context))
			return;
		end_if_stray(sig, info);
		if (redirect(bt_running, context))
			return;
	}
	for (i = 0; i < SIGNALS && signals[i] != sig; i++)
		;
	if (before[i].sa_flags & SA_SIGINFO)
		before[i].sa_sigaction(sig, info, context);
	else if (before[i].sa_handler != SIG_DFL && before[i].sa_handler != SIG_IGN)
		before[i].sa_handler(sig);
	else
		signal(sig, SIG_DFL);	/* comes again, and ends the process */
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int result;

static void
install(void)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	unsigned i;

	sigemptyset(&sa.sa_mask);
	for (i = 0; i < SIGNALS; i++)
		if (sigaction(signals[i], &sa, &before[i]) != 0)
			result = -1;
}

/* ---- a stack for handlers: translated code's own has no room for them ---- */

static pthread_key_t stack_key;
static pthread_once_t stack_once = PTHREAD_ONCE_INIT;

static size_t
stack_bytes(void)
{
	enum { FRAME = 16 << 10, HANDLERS = 32 << 10 };
	size_t least = getauxval(AT_MINSIGSTKSZ);

	return HANDLERS + (least > FRAME ? least : FRAME);
}

static void
stack_drop(void *p)
{
	static const stack_t none = { .ss_flags = SS_DISABLE };

	sigaltstack(&none, NULL);
	munmap(p, stack_bytes());
}

static bool stack_key_made;

static void
stack_key_make(void)
{
	stack_key_made = pthread_key_create(&stack_key, stack_drop) == 0;
}

void
bt_signals_here(void)
{
	static __thread bool done;
	stack_t s;
	void *p;

	if (done)
		return;
	done = true;
	if (sigaltstack(NULL, &s) == 0 && !(s.ss_flags & SS_DISABLE))
		return;		/* the host program's */
	p = mmap(NULL, stack_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return;		/* then an overflow of returns ends the process */
	pthread_once(&stack_once, stack_key_make);
	if (stack_key_made)		/* else it is not given back */
		pthread_setspecific(stack_key, p);
	s = (stack_t){ .ss_sp = p, .ss_size = stack_bytes() };
	sigaltstack(&s, NULL);
}

int
bt_signals_open(void)
{
	pthread_once(&once, install);
	return result;
}
