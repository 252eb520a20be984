/* SPDX-License-Identifier: Apache-2.0 */
/* isa/text.c - disassembly for people, by Zydis. */
#include "isa/insn.h"
#include <Zydis/Zydis.h>

unsigned
insn_text(const uint8_t *bytes, size_t avail, enum isa_mode mode, uint64_t rip, char *buf, size_t size)
{
	static const struct { ZydisMachineMode mode; ZydisStackWidth width; } modes[] = {
		[ISA_16] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
		[ISA_32] = { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
		[ISA_64] = { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
	};
	ZydisDecoder decoder;
	ZydisFormatter formatter;
	ZydisDecodedInstruction in;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];

	if (size == 0)
		return 0;
	buf[0] = '\0';
	ZydisDecoderInit(&decoder, modes[mode].mode, modes[mode].width);
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, avail, &in, ops)) ||
	    !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &in, ops,
	    in.operand_count_visible, buf, size, rip, NULL)))
		return 0;
	return in.length;
}
