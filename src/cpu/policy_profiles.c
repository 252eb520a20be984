/* SPDX-License-Identifier: Apache-2.0 */
/* cpu/policy_profiles.c - the shipped profiles. They are compiled in, not installed, so that a profile never
 * belongs to another version than the tables whose names it uses; `regent policy show NAME` prints one.
 */
#include "cpu/policy.h"
#include <string.h>

static const struct { const char *name, *about, *text; } profile[] = {
	{ "default", "nothing is refused; what an attack would touch is written to the trace",
"# default - nothing is refused. What an attack on a running kernel would touch is recorded.\n"
"log write cr0.wp cr4.smep cr4.smap cr4.umip after userspace\n"
"log write ia32_efer.nxe after userspace\n"
"log init after userspace\n"
	},
	{ "hardened", "what a kernel rootkit does first is refused once user space runs",
"# hardened - what a kernel rootkit does first is refused once user space runs. A kernel sets all of\n"
"# this up while it boots and has no reason to change it later; kexec has, and is refused with it.\n"
"\n"
"# Write protection of kernel text, and the walls between kernel and user pages.\n"
"pin cr0.wp cr0.pg cr0.pe after userspace\n"
"pin cr4.smep cr4.smap cr4.umip after userspace\n"
"pin ia32_efer.nxe ia32_efer.sce after userspace\n"
"\n"
"# Where system calls and interrupts go.\n"
"pin ia32_lstar ia32_cstar ia32_star ia32_fmask after userspace\n"
"pin ia32_sysenter_eip after userspace\n"
"pin idtr after userspace\n"
"\n"
"# A processor that INIT takes back to its state after RESET would be free of all that.\n"
"deny init after userspace\n"
"\n"
"# The local APIC stays where it is: a page moved over kernel memory hides it.\n"
"pin ia32_apic_base after userspace\n"
	},
	{ "migratable", "what differs between hosts is hidden: x86-64-v2 without AVX, random numbers and PCIDs",
"# migratable - a guest sees nothing that a host of the last fifteen years may lack, and no number that\n"
"# names its host: x86-64-v2.\n"
"hide cpuid.avx cpuid.avx2 cpuid.fma cpuid.f16c\n"
"hide cpuid.bmi1 cpuid.bmi2 cpuid.movbe cpuid.abm cpuid.adx\n"
"hide cpuid.aes cpuid.pclmulqdq cpuid.sha\n"
"hide cpuid.rdrand cpuid.rdseed\n"
"hide cpuid.pcid cpuid.invpcid cpuid.erms cpuid.fsrm\n"
"hide cpuid.xsaveopt cpuid.xsavec cpuid.xgetbv1\n"
"hide cpuid.clflushopt cpuid.clwb cpuid.clzero cpuid.rdpid\n"
"\n"
"# A TSC that promises to run alike everywhere can't be kept across hosts; kvmclock can.\n"
"hide cpuid.constant_tsc\n"
"\n"
"# One microcode revision, whatever a later model of the table says.\n"
"fix ia32_ucode_rev = 0x1000065\n"
	},
};
enum { PROFILES = sizeof(profile) / sizeof(profile[0]) };

const char *
policy_profile_name(unsigned n, const char **about)
{
	if (n >= PROFILES)
		return NULL;
	if (about != NULL)
		*about = profile[n].about;
	return profile[n].name;
}

const char *
policy_profile(const char *name)
{
	for (unsigned n = 0; n < PROFILES; n++)
		if (strcmp(profile[n].name, name) == 0)
			return profile[n].text;
	return NULL;
}
